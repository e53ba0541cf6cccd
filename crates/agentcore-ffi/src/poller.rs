//! A reactor that an event loop of another language polls on its own thread:
//! the loop watches the poller's descriptor, which can be read from whenever one
//! of the sockets behind it has something to say (epoll and kqueue nest).

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agentcore_client::internals::readiness::{Reactor, Readiness, Seen};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};

use crate::ready::Signal;

/// Events taken at a time; what is left keeps the descriptor readable.
const MOST_AT_ONCE: usize = 256;

/// Its own token.
const BELL: Token = Token(0);

/// A reactor.
pub(crate) struct Poller {
    fd: RawFd,
    bell: Waker,
    poll: Mutex<Poll>,
    watched: Mutex<Watched>,
    events: Mutex<Events>,
}

#[derive(Default)]
struct Watched {
    by_key: HashMap<usize, Arc<Readiness>>,
    /// Keys are not used again: an event may be under way for one that is forgotten.
    last_key: usize,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Poller {
    pub(crate) fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        Ok(Self {
            fd: poll.as_raw_fd(),
            bell: Waker::new(poll.registry(), BELL)?,
            poll: Mutex::new(poll),
            watched: Mutex::default(),
            events: Mutex::new(Events::with_capacity(MOST_AT_ONCE)),
        })
    }

    /// What the event loop watches.
    pub(crate) fn fd(&self) -> RawFd {
        self.fd
    }

    /// Wakes whoever waits for what has come. Does not wait itself.
    pub(crate) fn turn(&self) {
        let mut events = lock(&self.events);
        // What fails keeps the descriptor readable, so that the loop comes again.
        if lock(&self.poll).poll(&mut events, Some(Duration::ZERO)).is_err() {
            return;
        }
        for event in events.iter() {
            let key = event.token().0;
            let readiness = lock(&self.watched).by_key.get(&key).cloned();
            if let Some(readiness) = readiness {
                let error = event.is_error();
                readiness.note(Seen {
                    readable: event.is_readable() || error,
                    writable: event.is_writable() || error,
                    ended: event.is_read_closed() || event.is_write_closed() || error,
                });
            }
        }
    }
}

impl Reactor for Poller {
    fn watch(&self, fd: BorrowedFd<'_>, readiness: Arc<Readiness>) -> io::Result<usize> {
        let key = {
            let mut watched = lock(&self.watched);
            watched.last_key += 1;
            let key = watched.last_key;
            watched.by_key.insert(key, readiness);
            key
        };
        let interest = Interest::READABLE | Interest::WRITABLE;
        let watching = lock(&self.poll).registry().register(
            &mut SourceFd(&fd.as_raw_fd()),
            Token(key),
            interest,
        );
        if let Err(error) = watching {
            lock(&self.watched).by_key.remove(&key);
            return Err(error);
        }
        Ok(key)
    }

    fn forget(&self, fd: BorrowedFd<'_>, key: usize) {
        // It refuses what it does not know, which is forgotten already.
        let _ = lock(&self.poll).registry().deregister(&mut SourceFd(&fd.as_raw_fd()));
        lock(&self.watched).by_key.remove(&key);
    }
}

impl Signal for Arc<Poller> {
    fn raise(&self) {
        // Only a counter at its end refuses, and that one is rung already.
        let _ = self.bell.wake();
    }
}

impl fmt::Debug for Poller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Poller").field("fd", &self.fd).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::sync::mpsc;
    use std::task::{Context, Poll as Polled};
    use std::thread;

    use agentcore_client::{Auth, Client, Environment};

    use super::*;
    use crate::{Batch, Call, Engine, Feed, ReadyQueue, TokenWaker, Turn};

    /// Waits as an event loop does: by the descriptor alone.
    struct Loop {
        queue: Arc<ReadyQueue>,
        outer: Poll,
    }

    impl Loop {
        fn new() -> Self {
            let queue = ReadyQueue::with_poller().unwrap();
            let outer = Poll::new().unwrap();
            let fd = queue.fd().unwrap();
            outer.registry().register(&mut SourceFd(&fd), Token(1), Interest::READABLE).unwrap();
            Self { queue, outer }
        }

        fn run<T>(&mut self, mut poll: impl FnMut(&mut Context<'_>) -> Polled<T>) -> T {
            let waker = TokenWaker::new(Arc::clone(&self.queue), 7);
            let background = Engine::current().background().unwrap();
            let mut events = Events::with_capacity(1);
            loop {
                if let Polled::Ready(done) = background.turn(&waker, &mut poll) {
                    return done;
                }
                loop {
                    self.outer.poll(&mut events, Some(Duration::from_secs(20))).unwrap();
                    assert!(!events.is_empty(), "nothing came");
                    if self.queue.drain() == [7] {
                        break;
                    }
                }
            }
        }

        fn invoke(&mut self, client: &Client) -> String {
            let mut call = Call::new(client.invoke("hi").send());
            match self.run(|cx| call.poll(cx)) {
                Turn::Done(answer) => String::from_utf8_lossy(answer.unwrap().body()).into_owned(),
                Turn::Ask(_) => panic!("there is nothing to ask"),
            }
        }

        fn open(&mut self, client: &Client) -> Feed {
            let mut call = Call::new(client.invoke("hi").stream());
            match self.run(|cx| call.poll(cx)) {
                Turn::Done(stream) => Feed::new(stream.unwrap()),
                Turn::Ask(_) => panic!("there is nothing to ask"),
            }
        }

        fn next(&mut self, feed: &Feed) -> String {
            let reading = feed.begin_read().unwrap();
            match self.run(|cx| reading.poll_events(cx)) {
                Batch::Items(items) => {
                    items.iter().map(|event| String::from_utf8_lossy(event.data())).collect()
                }
                Batch::End => "the end".into(),
                Batch::Failed(failure) => failure.to_string(),
            }
        }
    }

    fn client(listener: &TcpListener) -> Client {
        Client::builder("arn:aws:bedrock-agentcore:us-east-1:123456789012:runtime/a-0123456789")
            .environment(Environment::empty())
            .endpoint_url(format!("http://{}", listener.local_addr().unwrap()))
            .auth(Auth::none())
            .build()
            .unwrap()
    }

    fn read_request(peer: &mut TcpStream) {
        let mut request = Vec::new();
        let mut byte = [0];
        while !request.ends_with(b"\r\n\r\n\"hi\"") {
            peer.read_exact(&mut byte).unwrap();
            request.push(byte[0]);
        }
    }

    #[test]
    fn a_connection_is_used_again_in_another_loop_when_its_own_is_over() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = client(&listener);
        let server = thread::spawn(move || {
            let (mut peer, _) = listener.accept().unwrap();
            for body in ["one", "two", "six"] {
                read_request(&mut peer);
                let head = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 3";
                peer.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).unwrap();
            }
        });
        let (mut first, mut second) = (Loop::new(), Loop::new());
        assert_eq!(first.invoke(&client), "one");
        assert_eq!(second.invoke(&client), "two");
        let left = Arc::downgrade(&second.queue);
        drop(second);
        assert!(left.upgrade().is_none(), "the idle connection must not hold a loop's descriptor");
        assert_eq!(first.invoke(&client), "six");
        server.join().unwrap();
    }

    /// A server that streams this many events, each when it is told to.
    fn says_when_told(
        listener: TcpListener,
        events: usize,
    ) -> (mpsc::Sender<()>, thread::JoinHandle<()>) {
        let (go_on, told) = mpsc::channel::<()>();
        let server = thread::spawn(move || {
            let (mut peer, _) = listener.accept().unwrap();
            read_request(&mut peer);
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close";
            peer.write_all(format!("{head}\r\n\r\n").as_bytes()).unwrap();
            for number in 0..events {
                told.recv().unwrap();
                peer.write_all(format!("data: {number}\n\n").as_bytes()).unwrap();
            }
        });
        (go_on, server)
    }

    #[test]
    fn a_stream_goes_on_in_another_loop() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = client(&listener);
        let (go_on, server) = says_when_told(listener, 40);
        let mut loops = [Loop::new(), Loop::new()];
        let feed = loops[0].open(&client);
        for number in 0..40 {
            if number % 3 == 0 {
                // It waited elsewhere before.
                let waker = TokenWaker::new(Arc::clone(&loops[0].queue), 7);
                let reading = feed.begin_read().unwrap();
                let background = Engine::current().background().unwrap();
                assert!(background.turn(&waker, |cx| reading.poll_events(cx)).is_pending());
            }
            go_on.send(()).unwrap();
            assert_eq!(loops[number % 2].next(&feed), number.to_string());
        }
        server.join().unwrap();
        assert_eq!(loops[0].next(&feed), "the end");
    }

    #[test]
    fn a_stream_goes_on_in_a_run_time() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = client(&listener);
        let (go_on, server) = says_when_told(listener, 3);
        let mut here = Loop::new();
        let feed = here.open(&client);
        let reading = feed.begin_read().unwrap();
        go_on.send(()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let batch = runtime.block_on(std::future::poll_fn(|cx| reading.poll_events(cx)));
        assert!(matches!(batch, Batch::Items(items) if items.len() == 1));
        let mut quiet = Context::from_waker(std::task::Waker::noop());
        runtime.block_on(async { assert!(reading.poll_events(&mut quiet).is_pending()) });
        drop(reading);
        let poller = here.queue.poller().unwrap();
        assert!(lock(&poller.watched).by_key.is_empty());
        for _ in 1..3 {
            go_on.send(()).unwrap();
        }
        server.join().unwrap();
        let reading = feed.begin_read().unwrap();
        let mut got = 0;
        while let Batch::Items(items) =
            runtime.block_on(std::future::poll_fn(|cx| reading.poll_events(cx)))
        {
            got += items.len();
        }
        assert_eq!(got, 2);
    }

    #[test]
    fn dropping_a_call_ends_its_connection_and_its_registration() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = client(&listener);
        let mut here = Loop::new();
        let server = thread::spawn(move || {
            let (mut peer, _) = listener.accept().unwrap();
            read_request(&mut peer);
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: 1\n\n";
            peer.write_all(head.as_bytes()).unwrap();
            peer.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            assert_eq!(peer.read_to_end(&mut Vec::new()).unwrap(), 0);
        });
        let feed = here.open(&client);
        assert_eq!(here.next(&feed), "1");
        feed.close();
        server.join().unwrap();
        let poller = here.queue.poller().unwrap();
        assert!(lock(&poller.watched).by_key.is_empty());
    }
}
