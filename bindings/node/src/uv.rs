//! Node.js's own event loop, libuv, watching a descriptor: what there is to do is then done on its
//! thread, which no other thread has to wake. Everything here runs on that thread.
//!
//! libuv is looked up in the process and not linked, since other run-times load this module, too.

#![allow(unsafe_code)]

use std::cell::Cell;
use std::ffi::{c_char, c_int, c_void};
use std::os::fd::RawFd;
use std::ptr;
use std::rc::Rc;
use std::sync::OnceLock;

use napi::bindgen_prelude::{Env, Function, FunctionRef};
use napi::sys;

type Handle = *mut c_void;

// Numbers of libuv's stable interface.
const POLL: c_int = 8;
const READABLE: c_int = 1;

struct Libuv {
    handle_size: unsafe extern "C" fn(c_int) -> usize,
    set_data: unsafe extern "C" fn(Handle, *mut c_void),
    get_data: unsafe extern "C" fn(Handle) -> *mut c_void,
    poll_init: unsafe extern "C" fn(*mut c_void, Handle, c_int) -> c_int,
    poll_start:
        unsafe extern "C" fn(Handle, c_int, unsafe extern "C" fn(Handle, c_int, c_int)) -> c_int,
    refer: unsafe extern "C" fn(Handle),
    unrefer: unsafe extern "C" fn(Handle),
    close: unsafe extern "C" fn(Handle, unsafe extern "C" fn(Handle)),
}

unsafe extern "C" {
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
}

/// glibc's, musl's and, a different one, Apple's `RTLD_DEFAULT`.
const EVERYWHERE: *mut c_void = if cfg!(target_vendor = "apple") {
    ptr::without_provenance_mut(-2_isize as usize)
} else {
    ptr::null_mut()
};

impl Libuv {
    fn get() -> Option<&'static Self> {
        static FOUND: OnceLock<Option<Libuv>> = OnceLock::new();
        FOUND.get_or_init(Self::look_up).as_ref()
    }

    fn look_up() -> Option<Self> {
        macro_rules! symbol {
            ($name:literal) => {{
                // SAFETY: the name ends with a zero, and the type is that of libuv's documentation.
                let found = unsafe { dlsym(EVERYWHERE, $name.as_ptr()) };
                if found.is_null() {
                    return None;
                }
                // SAFETY: as above. The field's type says it all.
                #[allow(clippy::missing_transmute_annotations)]
                unsafe {
                    std::mem::transmute(found)
                }
            }};
        }
        Some(Self {
            handle_size: symbol!(c"uv_handle_size"),
            set_data: symbol!(c"uv_handle_set_data"),
            get_data: symbol!(c"uv_handle_get_data"),
            poll_init: symbol!(c"uv_poll_init"),
            poll_start: symbol!(c"uv_poll_start"),
            refer: symbol!(c"uv_ref"),
            unrefer: symbol!(c"uv_unref"),
            close: symbol!(c"uv_close"),
        })
    }
}

/// What libuv keeps until it has closed the handle.
struct State {
    /// Memory of a size that only libuv knows, aligned for pointers.
    handle: Box<[u64]>,
    libuv: &'static Libuv,
    env: sys::napi_env,
    /// Whether JavaScript is to be called.
    is_worth_it: Box<dyn Fn() -> bool>,
    wake: FunctionRef<(), ()>,
    hook: sys::napi_async_cleanup_hook_handle,
    /// Null once it is being closed.
    open: Rc<Cell<*mut Self>>,
}

/// A descriptor that is watched. It doesn't keep the process alive unless it is held.
pub(crate) struct Watch(Rc<Cell<*mut State>>);

impl Watch {
    /// Calls `wake` whenever the descriptor can be read from and `is_worth_it` says so. `None` where
    /// libuv is not to be had. The descriptor must stay open as long as what `is_worth_it` owns.
    pub(crate) fn new(
        env: Env,
        fd: RawFd,
        wake: &Function<'_, (), ()>,
        is_worth_it: impl Fn() -> bool + 'static,
    ) -> Option<Self> {
        let libuv = Libuv::get()?;
        let wake = wake.create_ref().ok()?;
        let mut event_loop = ptr::null_mut();
        // SAFETY: the environment is the one that calls.
        if unsafe { sys::napi_get_uv_event_loop(env.raw(), &raw mut event_loop) }
            != sys::Status::napi_ok
        {
            return None;
        }
        // SAFETY: takes any kind of handle.
        let words = unsafe { (libuv.handle_size)(POLL) }.div_ceil(size_of::<u64>());
        let open = Rc::new(Cell::new(ptr::null_mut()));
        let mut state = Box::new(State {
            handle: vec![0; words].into(),
            libuv,
            env: env.raw(),
            is_worth_it: Box::new(is_worth_it),
            wake,
            hook: ptr::null_mut(),
            open: Rc::clone(&open),
        });
        let handle: Handle = state.handle.as_mut_ptr().cast();
        // SAFETY: the handle has libuv's size and stays where it is until libuv has closed it, which
        // frees the state; a handle that was not made needs no closing.
        unsafe {
            if (libuv.poll_init)(event_loop.cast(), handle, fd) != 0 {
                return None;
            }
            let state = Box::into_raw(state);
            open.set(state);
            (libuv.set_data)(handle, state.cast());
            sys::napi_add_async_cleanup_hook(
                env.raw(),
                Some(at_exit),
                state.cast(),
                &raw mut (*state).hook,
            );
            if (libuv.poll_start)(handle, READABLE, readable) != 0 {
                close(state);
                return None;
            }
            (libuv.unrefer)(handle);
        }
        Some(Self(open))
    }

    /// Keeps the process alive.
    pub(crate) fn hold(&self) {
        // SAFETY: what is not null has not been closed.
        if let Some(state) = unsafe { self.0.get().as_mut() } {
            // SAFETY: as above.
            unsafe { (state.libuv.refer)(state.handle.as_mut_ptr().cast()) };
        }
    }

    /// Takes that back.
    pub(crate) fn release(&self) {
        // SAFETY: as in `hold`.
        if let Some(state) = unsafe { self.0.get().as_mut() } {
            // SAFETY: as in `hold`.
            unsafe { (state.libuv.unrefer)(state.handle.as_mut_ptr().cast()) };
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let state = self.0.get();
        if !state.is_null() {
            // SAFETY: what is not null has not been closed.
            unsafe { close(state) };
        }
    }
}

/// # Safety
/// Once for each state.
unsafe fn close(state: *mut State) {
    // SAFETY: it is freed by `closed` only, which comes later.
    unsafe {
        (*state).open.set(ptr::null_mut());
        ((*state).libuv.close)((*state).handle.as_mut_ptr().cast(), closed);
    }
}

unsafe extern "C" fn closed(handle: Handle) {
    let Some(libuv) = Libuv::get() else { return };
    // SAFETY: the data is the state that was leaked for libuv, and nobody else has it any more.
    unsafe {
        let state = Box::from_raw((libuv.get_data)(handle).cast::<State>());
        // The environment waits for this.
        sys::napi_remove_async_cleanup_hook(state.hook);
    }
}

/// The environment ends: a worker, or the process.
unsafe extern "C" fn at_exit(_hook: sys::napi_async_cleanup_hook_handle, state: *mut c_void) {
    let state: *mut State = state.cast();
    // SAFETY: the hook is removed before the state is freed.
    unsafe {
        if !(*state).open.get().is_null() {
            close(state);
        }
    }
}

unsafe extern "C" fn readable(handle: Handle, _status: c_int, _events: c_int) {
    let Some(libuv) = Libuv::get() else { return };
    // SAFETY: libuv calls this for open handles only; JavaScript may close it, but frees nothing before
    // this has returned. The scope is closed where it was opened.
    unsafe {
        let state = (libuv.get_data)(handle).cast::<State>();
        if !((*state).is_worth_it)() {
            return;
        }
        let env = (*state).env;
        let mut scope = ptr::null_mut();
        if sys::napi_open_handle_scope(env, &raw mut scope) != sys::Status::napi_ok {
            return;
        }
        call(env, &(*state).wake);
        sys::napi_close_handle_scope(env, scope);
    }
}

/// # Safety
/// On the thread of this environment, within a handle scope.
unsafe fn call(env: sys::napi_env, wake: &FunctionRef<(), ()>) {
    let of = Env::from_raw(env);
    let Ok(wake) = wake.borrow_back(&of) else { return };
    let (mut global, mut result) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: as the caller says. With the callback's end, promises have their turn.
    unsafe {
        sys::napi_get_global(env, &raw mut global);
        let wake = napi::JsValue::raw(&wake);
        let none = ptr::null_mut();
        let status =
            sys::napi_make_callback(env, none, global, wake, 0, ptr::null(), &raw mut result);
        if status == sys::Status::napi_pending_exception {
            let mut error = ptr::null_mut();
            sys::napi_get_and_clear_last_exception(env, &raw mut error);
            sys::napi_fatal_exception(env, error);
        }
    }
}
