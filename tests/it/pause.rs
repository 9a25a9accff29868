//! Handlers that are not called for a while.

use std::cell::RefCell;
use std::mem;
use std::ops::ControlFlow::{Break, Continue};
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use topic_registry::{HandlerId, JoinGuard, Paused, SyncRegistry, TopicRegistry};

use crate::support::{Intercepts, Listens, Log, Subject, for_each_subject, within};

for_each_subject! {
    a_paused_handler_is_not_called_and_keeps_its_place
    it_is_called_again_when_the_last_of_its_pauses_is_dropped
    it_can_be_removed_meanwhile
    what_is_not_registered_is_not_paused
    a_handler_for_a_single_call_is_not_used_up
    a_handler_that_ends_itself_does_not_meanwhile
    a_paused_interceptor_stops_nothing
    a_handler_pauses_itself
    a_dispatch_that_runs_follows_pauses_and_their_ends
    a_pause_that_outlives_the_registry_does_nothing
    a_recorder_is_paused_as_any
    guards_pause_their_handlers
    a_forgotten_pause_lasts
}

/// Whether each handler is paused, in order.
fn paused(subject: &impl Subject) -> Vec<bool> {
    let handlers = subject.registry().handlers();
    handlers.iter().map(|handler| handler.paused).collect()
}

fn a_paused_handler_is_not_called_and_keeps_its_place<S: Subject>() {
    let (subject, log) = (S::fresh(), Log::new());
    let ids = [0, 1, 2].map(|name| {
        let (log, calls) = (log.clone(), AtomicU32::new(0));
        subject.register(0, move |_| {
            let call = calls.fetch_add(1, Ordering::Relaxed);
            log.push((name, call));
        })
    });
    assert_eq!(subject.notify(&0).called(), 3);
    log.take();
    let pause = subject.registry().pause(ids[1]).expect("it is registered");
    assert_eq!(pause.id(), ids[1]);
    assert!(format!("{pause:?}").contains("Paused"));
    let delivery = subject.notify(&0);
    assert_eq!(
        (delivery.called(), delivery.panicked(), delivery.stopped()),
        (2, 0, false)
    );
    assert_eq!(log.take(), [(0, 1), (2, 1)]);
    assert_eq!(paused(&subject), [false, true, false]);
    let registry = subject.registry();
    assert!(registry.contains(ids[1]) && registry.handler_count() == 3);
    drop(pause);
    assert_eq!(paused(&subject), [false; 3]);
    assert_eq!(subject.notify(&0).called(), 3);
    assert_eq!(
        log.take(),
        [(0, 2), (1, 1), (2, 2)],
        "it owns what it owned"
    );
    let listed: Vec<_> = registry.handlers().iter().map(|handler| handler.id).collect();
    assert_eq!(listed, ids);
}

fn guards_pause_their_handlers<S: Subject>() {
    let subject = S::fresh();
    let guard = subject.guard(|_| {});
    let registry = subject.registry();
    let joinable = registry.options().joinable().register_interceptor(|_| Continue(()));
    let pauses = [guard.pause(), joinable.pause(), registry.pause(guard.id())];
    let ids = pauses.each_ref().map(|pause| pause.as_ref().expect("it is registered").id());
    assert_eq!(ids, [guard.id(), joinable.id(), guard.id()]);
    assert_eq!(subject.notify(&0).called(), 0);
    let [first, second, third] = pauses;
    drop((first, second));
    assert_eq!(
        (subject.notify(&0).called(), paused(&subject)),
        (1, vec![true, false])
    );
    drop(third);
    assert_eq!(subject.notify(&0).called(), 2);
    assert!(guard.remove() && joinable.remove());
    assert!(guard.pause().is_none() && joinable.pause().is_none());
    drop((registry, subject));
    assert!(guard.pause().is_none(), "the registry is gone");
}

fn a_forgotten_pause_lasts<S: Subject>() {
    let subject = S::fresh();
    let id = subject.register(0, |_| {});
    let forgotten = subject.registry().pause(id).map(Paused::forget);
    assert_eq!(forgotten, Some(id));
    drop(subject.registry().pause(id));
    assert_eq!(
        (subject.notify(&0).called(), paused(&subject)),
        (0, vec![true])
    );
    assert!(subject.unregister(id));
}

fn it_is_called_again_when_the_last_of_its_pauses_is_dropped<S: Subject>() {
    let subject = S::fresh();
    let id = subject.register(0, |_| {});
    let mut pauses: Vec<_> = (0..3).map(|_| subject.registry().pause(id)).collect();
    assert!(pauses.iter().all(Option::is_some));
    while let Some(pause) = pauses.pop() {
        assert_eq!(
            (subject.notify(&0).called(), paused(&subject)),
            (0, vec![true])
        );
        drop(pause);
    }
    assert_eq!(
        (subject.notify(&0).called(), paused(&subject)),
        (1, vec![false])
    );
}

fn it_can_be_removed_meanwhile<S: Subject>() {
    let (subject, alive) = (S::fresh(), Arc::new(()));
    let owned = Arc::clone(&alive);
    let id = subject.register(0, move |_| _ = &owned);
    let sibling = subject.register(0, |_| {});
    let pause = subject.registry().pause(id);
    assert!(subject.unregister(id));
    assert_eq!(Arc::strong_count(&alive), 1);
    assert_eq!(subject.notify(&0).called(), 1);
    drop(pause);
    assert_eq!(
        (subject.notify(&0).called(), paused(&subject)),
        (1, vec![false])
    );
    let pause = subject.registry().pause(sibling);
    subject.clear();
    drop(pause);
    assert_eq!(subject.notify(&0).called(), 0);
}

fn what_is_not_registered_is_not_paused<S: Subject>() {
    let (subject, other) = (S::fresh(), S::fresh());
    let foreign = other.register(0, |_| {});
    let removed = subject.register(0, |_| {});
    assert!(subject.unregister(removed));
    let own = subject.register(0, |_| {});
    for id in [foreign, removed] {
        assert!(subject.registry().pause(id).is_none());
    }
    assert_eq!(
        (paused(&subject), paused(&other)),
        (vec![false], vec![false])
    );
    assert!(subject.registry().pause(own).is_some());
}

fn a_handler_for_a_single_call_is_not_used_up<S: Subject>() {
    let (subject, log) = (S::fresh(), Log::new());
    let calls = log.clone();
    let id = subject.once(move |event| calls.push(*event));
    let pause = subject.registry().pause(id);
    assert_eq!(subject.notify(&1).called(), 0);
    assert!(subject.registry().contains(id));
    drop(pause);
    assert_eq!((subject.notify(&2).called(), log.take()), (1, vec![2]));
}

fn a_handler_that_ends_itself_does_not_meanwhile<S: Subject>() {
    let subject = S::fresh();
    let id = subject.until(|_| Break(()));
    let pause = subject.registry().pause(id);
    assert_eq!(subject.notify(&0).called(), 0);
    assert!(subject.registry().contains(id));
    drop(pause);
    assert_eq!(subject.notify(&0).called(), 1);
    assert!(subject.registry().is_empty());
}

fn a_paused_interceptor_stops_nothing<S: Subject>() {
    let subject = S::fresh();
    let registry = subject.registry();
    let veto = registry.options().priority(1).register_interceptor(|_| Break(()));
    let joinable = registry.options().joinable().register_interceptor(|_| panic!("a veto"));
    subject.register(-1, |_| {});
    let ids: Vec<HandlerId> = registry.handlers().iter().map(|handler| handler.id).collect();
    let mut pauses: Vec<Option<Paused>> = ids[..2].iter().map(|id| registry.pause(*id)).collect();
    let notified = || {
        let delivery = subject.notify(&0);
        (delivery.called(), delivery.panicked(), delivery.stopped())
    };
    assert_eq!(notified(), (1, 0, false));
    drop(pauses.pop());
    assert_eq!(notified(), (1, 1, true), "the joinable one");
    drop(pauses);
    assert_eq!((ids[0], notified()), (veto, (1, 0, true)));
    drop(joinable);
}

fn a_handler_pauses_itself<S: Subject>() {
    let (subject, log, slot) = (S::fresh(), Log::new(), Arc::new(Mutex::new(None)));
    let (same, calls, own) = (subject.clone(), log.clone(), Arc::clone(&slot));
    let id = subject.register(0, move |event| {
        let id = same.registry().handlers()[0].id;
        *own.lock().unwrap() = same.registry().pause(id);
        assert_eq!(same.notify(&(event + 1)).called(), 0);
        calls.push(*event);
    });
    let resume = || mem::take(&mut *slot.lock().unwrap());
    assert_eq!(subject.notify(&0).called(), 1);
    assert_eq!(subject.notify(&10).called(), 0);
    assert_eq!(resume().as_ref().map(Paused::id), Some(id));
    assert_eq!(subject.notify(&20).called(), 1);
    assert_eq!(log.take(), [0, 20]);
    drop(resume());
    subject.clear();
}

fn a_dispatch_that_runs_follows_pauses_and_their_ends<S: Subject>() {
    let (subject, log) = (S::fresh(), Log::new());
    let (same, slot) = (subject.clone(), Arc::new(Mutex::new(None::<Paused>)));
    let own = Arc::clone(&slot);
    // Resumes the next one if it is paused, and pauses it if not.
    subject.register(1, move |_| {
        let mut slot = own.lock().unwrap();
        *slot = match slot.take() {
            Some(_resumed) => None,
            None => same.registry().pause(same.registry().handlers()[1].id),
        };
    });
    let calls = log.clone();
    subject.register(0, move |event| calls.push(*event));
    let called = [0, 1, 2, 3].map(|event| subject.notify(&event).called());
    assert_eq!((called, log.take()), ([1, 2, 1, 2], vec![1, 3]));
    assert!(slot.lock().unwrap().is_none());
    subject.clear();
}

fn a_pause_that_outlives_the_registry_does_nothing<S: Subject>() {
    let (subject, alive) = (S::fresh(), Arc::new(()));
    let owned = Arc::clone(&alive);
    let id = subject.register(0, move |_| _ = &owned);
    let pause = subject.registry().pause(id).expect("it is registered");
    drop(subject);
    assert_eq!(
        Arc::strong_count(&alive),
        1,
        "it does not keep the registry"
    );
    drop(pause);
}

fn a_recorder_is_paused_as_any<S: Subject>() {
    let subject = S::fresh();
    let registry = subject.registry();
    let recorder = registry.record(|event| *event);
    let waiting = registry.wait_for(|event| Some(*event));
    let pauses = [recorder.id(), waiting.id()].map(|id| registry.pause(id));
    assert_eq!(subject.notify(&1).called(), 0);
    drop(pauses);
    assert_eq!(subject.notify(&2).called(), 2);
    assert_eq!((recorder.take(), waiting.wait()), (vec![2], Ok(2)));
}

#[test]
fn a_joinable_handler_is_paused_and_joined_meanwhile() {
    let (registry, alive) = (SyncRegistry::<u32>::new(), Arc::new(()));
    let owned = Arc::clone(&alive);
    let joinable: JoinGuard = registry.options().joinable().register(move |_| _ = &owned);
    let pause = registry.pause(joinable.id());
    assert_eq!(registry.notify(&0).called(), 0);
    assert!(registry.handlers()[0].paused);
    drop(pause);
    assert_eq!(registry.notify(&0).called(), 1);
    let pause = registry.pause(joinable.id());
    assert_eq!(joinable.join(), Ok(()));
    assert_eq!(Arc::strong_count(&alive), 1);
    drop(pause);
}

#[test]
fn a_pause_keeps_no_topic() {
    let topics = TopicRegistry::<String, u32>::new();
    let id = topics.register("a", |_| {});
    let pause = topics.handle("a").pause(id).expect("it is registered");
    assert_eq!(topics.notify("a", &0).called(), 0);
    assert_eq!(topics.topics()[0].handles, 0);
    assert!(topics.unregister("a", id) && topics.is_empty());
    topics.register("a", |_| {});
    drop(pause);
    assert_eq!(
        (topics.notify("a", &0).called(), topics.topics()[0].handles),
        (1, 0)
    );
}

#[test]
fn a_paused_handler_goes_by_a_batch_and_by_its_guard() {
    let registry = SyncRegistry::<u32>::new();
    let (one, two) = (registry.register(|_| {}), registry.register_guard(|_| {}));
    let pauses = [one, two.id()].map(|id| registry.pause(id).expect("it is registered"));
    assert!(registry.update(|batch| batch.unregister(one)));
    drop(two);
    assert!(registry.is_empty());
    drop(pauses);
    assert_eq!(registry.notify(&0).called(), 0);
}

/// The mark of a removal must not be reached, nor any of the pauses that are there be lost.
#[test]
fn too_many_pauses_panic_and_change_nothing() {
    let registry = SyncRegistry::<u32>::new();
    let id = registry.register(|_| {});
    let mut pauses: Vec<_> = (0..32_767).map(|_| registry.pause(id)).collect();
    let one_more = catch_unwind(AssertUnwindSafe(|| registry.pause(id)));
    let message = *one_more.unwrap_err().downcast::<&str>().expect("a literal");
    assert!(message.contains("32,767"), "{message}");
    assert!(registry.handlers()[0].paused && registry.contains(id));
    let last = pauses.pop();
    drop(pauses);
    assert_eq!(registry.notify(&0).called(), 0);
    drop(last);
    assert_eq!(registry.notify(&0).called(), 1);
    assert!(registry.unregister(id));
}

/// A panic hook runs where the panic happens: no lock is held there.
#[test]
fn a_panic_hook_may_look_at_what_is_paused_too_often() {
    thread_local! {
        static SEEN: RefCell<Option<SyncRegistry<u32>>> = const { RefCell::new(None) };
    }
    let other = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let registry = SEEN.with(RefCell::take);
        if let Some(registry) = registry {
            assert!(registry.handlers()[0].paused);
        }
        other(info);
    }));
    within("a panic hook that looks at the registry", || {
        let registry = SyncRegistry::<u32>::new();
        let id = registry.register(|_| {});
        let pauses: Vec<_> = (0..32_767).map(|_| registry.pause(id)).collect();
        SEEN.with(|seen| seen.replace(Some(registry.clone())));
        assert!(catch_unwind(AssertUnwindSafe(|| registry.pause(id))).is_err());
        assert!(SEEN.with(RefCell::take).is_none(), "the hook has run");
        drop(pauses);
        assert_eq!(registry.notify(&0).called(), 1);
    });
}

#[cfg(feature = "async")]
mod asynchronous {
    use std::future::Future;
    use std::pin::Pin;
    use std::sync::Arc;

    use topic_registry::{AsyncRegistry, Delivery};

    use crate::support::{Log, Wakes, poll, yields};

    type Notify = fn(&AsyncRegistry<u32>) -> Pin<Box<dyn Future<Output = Delivery> + '_>>;

    /// A pause keeps handlers from starting, and nothing that has started from going on.
    #[test]
    fn a_future_that_runs_goes_on() {
        let notifies: [Notify; 2] = [
            |registry| Box::pin(registry.notify(&7)),
            |registry| Box::pin(registry.notify_sequential(&7)),
        ];
        for notify in notifies {
            let (registry, log, task) = (AsyncRegistry::new(), Log::new(), Arc::<Wakes>::default());
            let calls = log.clone();
            let id = registry.register(move |event| {
                let (log, event) = (calls.clone(), *event);
                async move {
                    log.push(("begun", event));
                    yields().await;
                    log.push(("ended", event));
                }
            });
            let mut dispatch = notify(&registry);
            assert!(poll(dispatch.as_mut(), &task).is_pending());
            let pause = registry.pause(id);
            let mut other = notify(&registry);
            assert!(poll(other.as_mut(), &task).map(Delivery::called).is_ready());
            assert!(poll(dispatch.as_mut(), &task).map(Delivery::called).is_ready());
            assert_eq!(log.take(), [("begun", 7), ("ended", 7)]);
            drop(pause);
            assert!(poll(notify(&registry).as_mut(), &task).is_pending());
            assert_eq!(log.take(), [("begun", 7)]);
        }
    }
}
