//! Hooks: events that borrow, and that handlers change. What they share with other flavors is
//! tested with those.

use std::ops::ControlFlow::{self, Break, Continue};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use topic_registry::{
    Hook, HookRegistry, HookTopicHandle, HookTopicRegistry, Owned, WaitError, WeakHookTopicRegistry,
};

use crate::support::Log;

/// Borrows exclusively, so it is invariant.
struct Save<'e> {
    path: &'e str,
    text: &'e mut String,
    refused: Option<String>,
}

enum BeforeSave {}

impl Hook for BeforeSave {
    type Event<'e> = Save<'e>;
}

fn save<'e>(path: &'e str, text: &'e mut String) -> Save<'e> {
    Save {
        path,
        text,
        refused: None,
    }
}

type Lines = Owned<Vec<String>>;

/// A trait object that borrows.
trait Sink {
    fn put(&mut self, n: u32);
}

struct Collect<'e>(&'e mut Vec<u32>);

impl Sink for Collect<'_> {
    fn put(&mut self, n: u32) {
        self.0.push(n);
    }
}

enum Sinks {}

impl Hook for Sinks {
    type Event<'e> = dyn Sink + 'e;
}

/// A type with a lifetime that names itself.
struct Edit<'e>(&'e mut usize);

impl Hook for Edit<'static> {
    type Event<'e> = Edit<'e>;
}

#[test]
fn a_handler_changes_what_the_event_borrows() {
    let hooks = HookRegistry::<BeforeSave>::new();
    hooks.register(|save| save.text.push('\n'));
    hooks.register(|save| {
        let name = save.path.to_owned();
        save.text.insert_str(0, &name);
    });
    let (path, mut text) = ("a.rs: ".to_owned(), "fn".to_owned());
    assert_eq!(hooks.notify(&mut save(&path, &mut text)).called(), 2);
    assert_eq!(text, "a.rs: fn\n");
}

#[test]
fn an_event_is_passed_again_and_again() {
    let hooks = HookRegistry::<BeforeSave>::new();
    hooks.register(|save| save.text.push('.'));
    let mut text = String::new();
    let mut event = save("a.rs", &mut text);
    for _ in 0..3 {
        hooks.notify(&mut event);
        event.text.push('|');
    }
    assert_eq!(event.text, ".|.|.|");
    for _ in 0..2 {
        hooks.notify(&mut save("b.rs", &mut text));
    }
    assert_eq!(text, ".|.|.|..");
}

/// In lists of every kind: each handler of a run sees what the one before it has left.
#[test]
fn each_handler_sees_what_those_before_it_have_changed() {
    for count in [1, 2, 3, 4, 5, 9, 64, 65, 200] {
        for is_mixed in [false, true] {
            let hooks = HookRegistry::<Lines>::new();
            for n in 0..count {
                let push =
                    move |lines: &mut Vec<String>| lines.push(format!("{n}:{}", lines.len()));
                if is_mixed && n % 3 == 0 {
                    hooks.register(move |lines| push(lines));
                } else {
                    hooks.register(push);
                }
            }
            let mut lines = Vec::new();
            assert_eq!(hooks.notify(&mut lines).called(), count);
            let expected: Vec<_> = (0..count).map(|n| format!("{n}:{n}")).collect();
            assert_eq!(lines, expected);
        }
    }
}

#[test]
fn a_handler_passes_on_its_own_locals_and_the_event() {
    let inner = HookRegistry::<BeforeSave>::new();
    inner.register(|save| save.text.push('i'));
    let hooks = HookRegistry::<BeforeSave>::new();
    hooks.register(move |save| {
        let mut draft = save.text.clone();
        inner.notify(&mut Save {
            path: save.path,
            text: &mut draft,
            refused: None,
        });
        inner.notify(save);
        inner.notify(&mut Save {
            path: save.path,
            text: save.text,
            refused: None,
        });
        save.text.push_str(&draft);
    });
    let mut text = "t".to_owned();
    hooks.notify(&mut save("a.rs", &mut text)).assert_no_panics();
    assert_eq!(text, "tiiti");
}

#[test]
fn a_veto_leaves_its_reason_in_the_event() {
    let hooks = HookRegistry::<BeforeSave>::new();
    hooks.register(|save| save.text.push('!'));
    hooks.options().priority(10).register_interceptor(|save| {
        if save.text.is_empty() {
            save.refused = Some(format!("{} is empty", save.path));
            return Break(());
        }
        Continue(())
    });
    let mut text = String::new();
    let mut event = save("a.rs", &mut text);
    assert!(hooks.notify(&mut event).stopped());
    assert_eq!(event.refused.take().as_deref(), Some("a.rs is empty"));
    event.text.push('x');
    assert!(!hooks.notify(&mut event).stopped());
    assert_eq!(text, "x!");
}

#[test]
fn a_handler_that_removes_itself_sees_what_it_counts_in_the_event() {
    let hooks = HookRegistry::<Edit<'static>>::new();
    hooks.options().register_until(|edit| {
        *edit.0 += 1;
        if *edit.0 == 2 {
            Break(())
        } else {
            Continue(())
        }
    });
    let mut count = 0;
    for _ in 0..5 {
        hooks.notify(&mut Edit(&mut count));
    }
    assert!(count == 2 && hooks.is_empty());
}

#[test]
fn a_panic_half_way_leaves_the_event_as_it_is_then() {
    let hooks = HookTopicRegistry::<String, BeforeSave>::new();
    let panics = Log::new();
    let reports = panics.clone();
    hooks.on_panic(move |key, info| {
        reports.push((key.clone(), info.message().unwrap_or("?").to_owned()));
    });
    hooks.register("save", |save| {
        save.text.push_str("half");
        panic!("half way");
    });
    hooks.register("save", |save| save.text.push_str(", seen"));
    let mut text = String::new();
    let delivery = hooks.notify("save", &mut save("a.rs", &mut text));
    assert_eq!((delivery.called(), delivery.panicked()), (2, 1));
    assert_eq!(text, "half, seen");
    assert_eq!(panics.take(), [("save".to_owned(), "half way".to_owned())]);

    let options = hooks.handle("save");
    options.options().priority(1).register_interceptor(|save| {
        save.text.clear();
        panic!("half way")
    });
    let delivery = hooks.notify("save", &mut save("a.rs", &mut text));
    assert!(delivery.stopped() && delivery.panicked() == 1);
    assert_eq!(text, "");
}

#[test]
fn an_event_goes_from_topic_to_topic() {
    let topics: HookTopicRegistry<String, BeforeSave> = HookTopicRegistry::builder()
        .name("hooks")
        .on_slow(Duration::ZERO, |_, _, _| {})
        .build();
    let handle: HookTopicHandle<String, BeforeSave> = topics.handle("save");
    let weak: WeakHookTopicRegistry<String, BeforeSave> = topics.downgrade();
    topics.register("save", move |event| {
        let topics = weak.upgrade().expect("it is notified");
        topics.notify("format", event);
    });
    let _guard = topics.register_guard("format", |save| save.text.push('f'));
    topics.register_once("save", |save| save.text.push('o'));
    let mut text = String::new();
    assert_eq!(handle.notify(&mut save("a.rs", &mut text)).called(), 2);
    let mut notify = |key: &str| topics.notify(key, &mut save("a.rs", &mut text)).called();
    assert_eq!((notify("save"), notify("none")), (1, 0));
    assert_eq!(text, "fof");
}

#[test]
fn an_event_is_created_only_if_there_are_handlers() {
    let hooks = HookTopicRegistry::<u64, BeforeSave>::new();
    let unused = || -> Save<'static> { unreachable!("nobody listens") };
    assert_eq!(hooks.notify_with(&1, unused).called(), 0);
    let handle = hooks.handle(1u64);
    assert_eq!(handle.notify_with(unused).called(), 0);
    handle.register(|save| save.text.push('!'));
    let mut text = String::new();
    assert_eq!(handle.notify_with(|| save("a.rs", &mut text)).called(), 1);
    hooks.notify_with(&1, || save("a.rs", &mut text));
    assert_eq!(text, "!!");

    let unsized_event = HookRegistry::<Owned<str>>::new();
    unsized_event.register(str::make_ascii_uppercase);
    let recorder = unsized_event.record(str::to_owned);
    assert_eq!(
        unsized_event.notify_with(|| String::from("abc")).called(),
        2
    );
    assert_eq!(recorder.take(), ["ABC"]);
}

#[test]
fn waits_and_recorders_copy_out_of_the_event() {
    let hooks = HookRegistry::<BeforeSave>::new();
    let mut waiting =
        hooks.wait_for(|save| save.text.ends_with('\n').then(|| save.path.to_owned()));
    let refused = hooks.wait_for(|save| save.refused.clone());
    let recorder = hooks.record(|save| save.text.clone());
    assert_eq!(
        waiting.wait_timeout(Duration::ZERO),
        Err(WaitError::TimedOut)
    );
    let mut text = "a".to_owned();
    hooks.notify(&mut save("a.rs", &mut text));
    text.push('\n');
    let mut event = save("b.rs", &mut text);
    event.refused = Some("no".to_owned());
    hooks.notify(&mut event);
    assert_eq!(waiting.wait().as_deref(), Ok("b.rs"));
    assert_eq!(refused.wait().as_deref(), Ok("no"));
    assert_eq!(recorder.take(), ["a", "a\n"]);
}

#[test]
fn a_trait_object_that_borrows_is_an_event() {
    let hooks = HookRegistry::<Sinks>::new();
    hooks.register(|sink| sink.put(1));
    hooks.register(|sink| sink.put(2));
    let mut all = Vec::new();
    hooks.notify(&mut Collect(&mut all));
    assert_eq!(all, [1, 2]);
}

#[test]
fn handlers_need_no_annotation_and_may_be_functions() {
    fn shout(save: &mut Save<'_>) {
        save.text.push('!');
    }
    fn generic<H: Hook>(hooks: &HookRegistry<H>, count: &'static AtomicUsize) {
        hooks.register(|_| {
            count.fetch_add(1, Ordering::Relaxed);
        });
    }
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let hooks = HookRegistry::<BeforeSave>::new();
    hooks.register(shout);
    hooks.register(|save: &mut Save<'_>| save.text.push('?'));
    let in_a_variable = |save: &mut Save<'_>| save.text.push('.');
    hooks.register(in_a_variable);
    let boxed: Box<dyn Fn(&mut Save<'_>) + Send + Sync> = Box::new(|save| save.text.push(';'));
    hooks.register(boxed);
    generic(&hooks, &COUNT);
    let log = Arc::new(Mutex::new(Vec::new()));
    let weak = Arc::downgrade(&log);
    hooks.options().register_until(move |save| -> ControlFlow<()> {
        let Some(log) = weak.upgrade() else {
            return Break(());
        };
        log.lock().unwrap().push(save.text.len());
        Continue(())
    });
    let mut text = String::new();
    hooks.notify(&mut save("a.rs", &mut text)).assert_no_panics();
    assert_eq!((text.as_str(), COUNT.load(Ordering::Relaxed)), ("!?.;", 1));
    assert_eq!(*log.lock().unwrap(), [4]);
}

#[test]
fn a_closure_that_is_large_is_called_once() {
    let hooks = HookRegistry::<Lines>::new();
    let large = [7_u8; 5_000];
    hooks.register_once(move |lines| lines.push(large.len().to_string()));
    hooks.register(move |lines| lines.push(large.len().to_string()));
    let mut lines = Vec::new();
    hooks.notify(&mut lines);
    hooks.notify(&mut lines);
    assert_eq!(lines, ["5000", "5000", "5000"]);
}
