//! What is watched: of any flavor, only while somebody looks, and whatever the program does to it.

use std::cell::RefCell;
use std::env;
use std::fmt;
use std::panic::panic_any;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use topic_registry::{
    AsyncRegistry, AsyncTopicRegistry, HookRegistry, HookTopicRegistry, Owned, SyncRegistry,
    TopicRegistry,
};
use topic_registry_inspect::json::State;
use topic_registry_inspect::{Error, Inspector, Reports};

use crate::support::{
    Gate, PATIENCE, Topics, document, get, keys, later_document, registry, serve, serve_all, topic,
    wait_for,
};

#[test]
fn all_flavors_are_watched_and_keys_without_debug_by_a_function() {
    #[derive(Clone, PartialEq, Eq, Hash)]
    struct Id(u64);

    let sync = TopicRegistry::<u32, str>::new();
    let tasks = AsyncTopicRegistry::<&'static str, str>::new();
    let hooks = HookTopicRegistry::<Id, Owned<String>>::new();
    let (one, two) = (SyncRegistry::<str>::new(), AsyncRegistry::<str>::new());
    let three = HookRegistry::<Owned<String>>::new();
    sync.register(7u32, |_| {});
    tasks.register("task", |_| async {});
    hooks.register(Id(9), |_| {});
    one.register(|_| {});
    two.register(|_| async {});
    three.register(|_| {});
    let inspector = Inspector::new()
        .watch("sync", &sync)
        .watch("tasks", &tasks)
        .watch_by("hooks", &hooks, |id| format!("number {}", id.0))
        .watch("one", &one)
        .watch("two", &two)
        .watch("three", &three);
    let guard = serve_all(inspector);
    let all = document(&guard, "sort=key");
    let listed: Vec<_> = all.topics.iter().map(|it| (&*it.registry, &*it.key)).collect();
    let expected = [
        ("one", ""),
        ("two", ""),
        ("three", ""),
        ("sync", "7"),
        ("hooks", "number 9"),
        ("tasks", "task"),
    ];
    assert_eq!(listed, expected);
    assert!(all.topics.iter().all(|topic| topic.sum.handlers == 1));
    assert_eq!(keys(&document(&guard, "registry=hooks")), ["number 9"]);
}

#[test]
fn topics_of_one_text_are_shown_as_one() {
    let topics = TopicRegistry::<u32, str>::new();
    for key in 0..6u32 {
        topics.register(key, |_| {});
    }
    let show = |key: &u32| (key % 2).to_string();
    let guard = serve_all(Inspector::new().watch_by("bus", &topics, show));
    let all = later_document(&guard, "sort=key");
    assert_eq!(keys(&all), ["0", "1"]);
    assert!(all.topics.iter().all(|topic| topic.sum.handlers == 3));
}

/// A key that counts how often it is cloned and shown.
#[derive(Clone)]
struct Counted(Arc<AtomicUsize>);

impl fmt::Debug for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fetch_add(1, Ordering::Relaxed);
        f.write_str("counted")
    }
}

impl PartialEq for Counted {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Counted {}

impl std::hash::Hash for Counted {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        state.write_u8(0);
    }
}

#[test]
fn nothing_is_read_while_nobody_looks() {
    let (shown, topics) = (Arc::default(), TopicRegistry::<Counted, str>::new());
    topics.register(Counted(Arc::clone(&shown)), |_| {});
    let guard = serve_all(Inspector::new().watch("bus", &topics));
    get(guard.address(), "/");
    get(guard.address(), "/script.js");
    assert_eq!(shown.load(Ordering::Relaxed), 0);
    document(&guard, "");
    assert_eq!(shown.load(Ordering::Relaxed), 1);
    // However many look.
    for _ in 0..5 {
        document(&guard, "");
    }
    assert!(shown.load(Ordering::Relaxed) < 5);
}

#[test]
fn topics_are_dropped_at_any_time_and_the_document_says_so() {
    let topics = Topics::new();
    let (dropped, drops) = mpsc::channel::<()>();
    topics.register("a", move |_| drop(dropped.clone()));
    let weak = topics.downgrade();
    let guard = serve(&topics);
    assert_eq!(registry(&document(&guard, ""), "bus").state, State::Live);
    drop(topics);
    assert!(weak.upgrade().is_none(), "the inspector keeps them");
    let ended = drops.recv_timeout(PATIENCE);
    assert_eq!(
        ended,
        Err(mpsc::RecvTimeoutError::Disconnected),
        "it keeps a handler"
    );
    let after = later_document(&guard, "since=new");
    assert_eq!(registry(&after, "bus").state, State::Dropped);
    assert_eq!((after.found, registry(&after, "bus").sum.handlers), (0, 0));
}

#[test]
fn topics_that_come_and_go_beside_looks_leave_nothing_behind() {
    let topics = Topics::new();
    let guard = serve(&topics);
    thread::scope(|scope| {
        let (_gate, over) = Gate::new();
        let address = guard.address();
        scope.spawn(move || {
            while over.try_recv() == Err(mpsc::TryRecvError::Empty) {
                assert_eq!(get(address, "/topics.json?since=new").status, 200);
            }
        });
        let churns = (0..2).map(|thread| {
            let topics = &topics;
            scope.spawn(move || {
                for number in 0..20_000 {
                    let key = format!("{thread}.{}", number % 50);
                    let guard = topics.register_guard(key, |_| {});
                    let _handle = topics.handle("shared");
                    drop(guard);
                }
            })
        });
        let churns: Vec<_> = churns.collect();
        for churn in churns {
            churn.join().expect("it ends");
        }
    });
    later_document(&guard, "");
    wait_for("the topics to go", || topics.is_empty());
}

#[test]
fn a_handler_that_blocks_blocks_no_look() {
    let topics = Topics::new();
    let (gate, opened) = Gate::new();
    let opened = Mutex::new(opened);
    let (begun, begins) = mpsc::channel();
    topics.register("slow", move |_| {
        let _ = begun.send(());
        let _ = opened.lock().expect("no panic").recv();
    });
    let guard = serve(&topics);
    thread::scope(|scope| {
        scope.spawn(|| topics.notify("slow", ""));
        begins.recv_timeout(PATIENCE).expect("the call begins");
        let during = later_document(&guard, "");
        assert_eq!(topic(&during, "slow").sum.handlers, 1);
        drop(gate);
    });
}

/// A key whose `Debug` blocks, after it has told so, or panics.
#[derive(Clone)]
enum Hostile {
    Blocks(Sender<()>, Arc<Mutex<Receiver<()>>>),
    Panics,
    Fine,
}

impl fmt::Debug for Hostile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blocks(begun, opened) => {
                let _ = begun.send(());
                let _ = opened.lock().expect("no panic").recv();
            }
            Self::Panics => panic_any(Thrown),
            Self::Fine => {}
        }
        f.write_str("shown")
    }
}

impl Hostile {
    /// Returns a key that blocks, what opens it, and what hears of it when it blocks.
    fn blocks() -> (Self, Gate, Receiver<()>) {
        let (gate, opened) = Gate::new();
        let (begun, begins) = mpsc::channel();
        let key = Self::Blocks(begun, Arc::new(Mutex::new(opened)));
        (key, gate, begins)
    }

    fn number(&self) -> u8 {
        match self {
            Self::Blocks(..) => 0,
            Self::Panics => 1,
            Self::Fine => 2,
        }
    }
}

impl PartialEq for Hostile {
    fn eq(&self, other: &Self) -> bool {
        self.number() == other.number()
    }
}

impl Eq for Hostile {}

impl std::hash::Hash for Hostile {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        state.write_u8(self.number());
    }
}

/// A payload that panics when it is dropped.
struct Thrown;

impl Drop for Thrown {
    fn drop(&mut self) {
        panic!("the destructor of a payload");
    }
}

#[test]
fn a_key_that_panics_when_it_is_shown_is_listed_beside_the_others() {
    let topics = TopicRegistry::<Hostile, str>::new();
    topics.register(Hostile::Panics, |_| {});
    topics.register(Hostile::Fine, |_| {});
    let guard = serve_all(Inspector::new().watch("bus", &topics));
    let all = document(&guard, "sort=key");
    assert_eq!(keys(&all), ["(this key panics when it is shown)", "shown"]);
}

#[test]
fn a_panic_is_reported_even_if_its_key_panics_when_it_is_shown() {
    let (topics, reports) = (TopicRegistry::<Hostile, str>::new(), Reports::new());
    topics.on_panic(reports.on_panic());
    topics.register(Hostile::Panics, |_| panic!("the handler"));
    topics.notify(&Hostile::Panics, "");
    assert_eq!(topics.panic_count(), 1, "the callback panics, too");
    let guard = serve_all(Inspector::new().reports("bus", &reports));
    let all = document(&guard, "");
    let [report] = all.reports.as_slice() else {
        panic!("{all:#?}")
    };
    assert_eq!(report.key, "(this key panics when it is shown)");
    assert_eq!(report.message.as_deref(), Some("the handler"));
}

#[test]
fn a_key_that_blocks_keeps_neither_its_topic_nor_all() {
    let (key, gate, begins) = Hostile::blocks();
    let topics = TopicRegistry::<Hostile, str>::new();
    topics.register(key, |_| {});
    let weak = topics.downgrade();
    let guard = serve_all(Inspector::new().watch("bus", &topics));
    let address = guard.address();
    thread::scope(|scope| {
        scope.spawn(move || get(address, "/topics.json"));
        begins.recv_timeout(PATIENCE).expect("it is shown");
        let handles: Vec<_> = topics.topics().iter().map(|topic| topic.handles).collect();
        drop(topics);
        let is_kept = weak.upgrade().is_some();
        drop(gate);
        assert_eq!((handles, is_kept), (vec![0], false));
    });
}

/// Which of the two below this process is for, if it is one of their own.
const CASE: &str = "TOPIC_REGISTRY_INSPECT_TEST_CASE";

/// Panics when it is dropped by the thread that looks.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Bomb(u8);

impl Drop for Bomb {
    fn drop(&mut self) {
        let thread = thread::current();
        assert_ne!(thread.name(), Some("topic-registry-inspect-sampler"));
    }
}

/// Not a test: what the next two start as a process of its own, which may be aborted.
#[test]
#[ignore = "the other process of tests"]
fn drops_bombs() {
    match env::var(CASE).as_deref() {
        Ok("keys") => drop_keys(),
        Ok("functions") => drop_functions(),
        _ => return,
    }
    println!("it goes on");
}

/// The topics are gone in the middle of a look.
fn drop_keys() {
    let topics = TopicRegistry::<Bomb, str>::new();
    for number in 0..5 {
        topics.register(Bomb(number), |_| {});
    }
    let kept = Arc::new(Mutex::new(None));
    let last = Arc::clone(&kept);
    let show = move |_: &Bomb| {
        drop(last.lock().expect("no panic").take());
        "shown".into()
    };
    let guard = serve_all(Inspector::new().watch_by("bus", &topics, show));
    *kept.lock().expect("no panic") = Some(topics);
    let all = document(&guard, "");
    assert_eq!(registry(&all, "bus").state, State::Dropped);
}

thread_local! {
    /// Dropped when the thread that looks has ended, after all that it drops.
    static ENDED: RefCell<Option<Sender<()>>> = const { RefCell::new(None) };
}

fn drop_functions() {
    let (topics, (ended, ends)) = (Topics::new(), mpsc::channel());
    topics.register("a", |_| {});
    let watch = |inspector: Inspector, number| {
        let held = (Bomb(number), ended.clone());
        inspector.watch_by("bus", &topics, move |key| {
            ENDED.set(Some(held.1.clone()));
            let _ = &held;
            key.clone()
        })
    };
    let guard = serve_all((0..3).fold(Inspector::new(), watch));
    document(&guard, "");
    drop((guard, ended));
    let all = ends.recv_timeout(PATIENCE);
    assert_eq!(all, Err(mpsc::RecvTimeoutError::Disconnected));
}

fn assert_it_goes_on(case: &str) {
    let mut command = Command::new(env::current_exe().expect("it is a file"));
    let name = "watching::drops_bombs";
    command.args(["--exact", name, "--ignored", "--nocapture"]).env(CASE, case);
    let output = command.output().expect("it starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let status = output.status;
    assert!(
        status.success() && text.contains("it goes on"),
        "{status}: {text}"
    );
}

#[test]
fn keys_whose_destructors_panic_do_not_abort_the_program() {
    assert_it_goes_on("keys");
}

#[test]
fn functions_whose_destructors_panic_do_not_abort_the_program() {
    assert_it_goes_on("functions");
}

#[test]
fn a_key_that_blocks_is_said_to_and_holds_up_nothing_else() {
    let (key, gate, _begins) = Hostile::blocks();
    let topics = TopicRegistry::<Hostile, str>::new();
    topics.register(key, |_| {});
    let guard = serve_all(Inspector::new().watch("bus", &topics));
    let answer = get(guard.address(), "/topics.json");
    assert_eq!(answer.status, 503);
    assert!(answer.body.contains("Debug"), "{}", answer.body);
    assert_eq!(get(guard.address(), "/").status, 200);
    topics.register(Hostile::Fine, |_| {});
    assert_eq!(topics.notify(&Hostile::Fine, "").called(), 1);
    drop(gate);
    assert_eq!(keys(&document(&guard, "sort=key")), ["shown"]);
    topics.remove(&Hostile::blocks().0);
}

#[test]
fn it_is_served_until_its_guard_is_dropped() {
    let topics = Topics::new();
    let guard = serve(&topics);
    let address = guard.address();
    assert_eq!(guard.url(), format!("http://{address}"));
    let idle = crate::support::connect(address);
    match Inspector::new().serve(address) {
        Err(Error::Taken(taken)) => assert_eq!(taken, address),
        other => panic!("{other:?}"),
    }
    drop(guard);
    let mut idle = idle;
    let rest = std::io::Read::read(&mut idle, &mut [0; 1]);
    assert!(
        matches!(rest, Ok(0) | Err(_)),
        "a connection is left: {rest:?}"
    );
    let again = Inspector::new().watch("bus", &topics).serve(address);
    let again = again.expect("its port is free at once");
    assert_eq!(get(again.address(), "/").status, 200);
}

#[test]
fn a_guard_that_is_forgotten_serves_on() {
    let topics = Topics::new();
    let guard = serve(&topics);
    let address = guard.address();
    guard.forget();
    assert_eq!(get(address, "/").status, 200);
}

#[test]
fn addresses_that_are_none_or_not_of_this_machine_alone_are_refused() {
    for given in [
        "",
        "127.0.0.1",
        "127.0.0.1:x",
        "127.0.0.1:66700",
        "http://127.0.0.1:1",
    ] {
        match Inspector::new().serve(given) {
            Err(why @ Error::NotAnAddress { .. }) => {
                let why = why.to_string();
                assert!(
                    why.starts_with(&format!("{given:?} is no address")),
                    "{why}"
                );
                assert_eq!(why.lines().count(), 1);
            }
            other => panic!("{given:?}: {other:?}"),
        }
    }
    for given in ["0.0.0.0:0", "[::]:0"] {
        match Inspector::new().serve(given) {
            Err(why @ Error::NotLoopback(_)) => {
                assert!(why.to_string().contains("expose_to_network"), "{why}");
            }
            other => panic!("{given:?}: {other:?}"),
        }
    }
    let exposed = Inspector::new().expose_to_network().serve("0.0.0.0:0").expect("it is exposed");
    let address = (std::net::Ipv4Addr::LOCALHOST, exposed.address().port()).into();
    assert_eq!(get(address, "/").status, 200);
}

#[test]
fn it_is_served_from_within_an_async_runtime() {
    for mut builder in [
        tokio::runtime::Builder::new_current_thread(),
        tokio::runtime::Builder::new_multi_thread(),
    ] {
        let runtime = builder.build().expect("it starts");
        runtime.block_on(async {
            let topics = Topics::new();
            let guard = serve(&topics);
            // The only thread of the runtime waits meanwhile.
            assert_eq!(get(guard.address(), "/topics.json").status, 200);
            tokio::task::yield_now().await;
            drop(guard);
        });
        runtime.shutdown_timeout(Duration::from_secs(1));
    }
}
