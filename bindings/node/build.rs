//! Tells the linker what a module that Node loads needs on each platform.

fn main() {
    napi_build::setup();
}
