//! Where handlers report panics and slow calls, and registries the number of handlers. It lives as
//! long as a handler does, even if the registry is gone.

use std::any::Any;
use std::cell::Cell;
use std::mem;
use std::time::Duration;

use crate::callback::CallbackCell;
use crate::panic::{
    PanicInfo, PanicOrigin, Payload, Registrant, catch_and_discard, count_and_drop, drop_payload,
};
use crate::primitive::atomic::{AtomicU64, Ordering};
use crate::primitive::thread_local_const;
use crate::registry::HandlerInfo;
use crate::telemetry;

/// A count of panics, and the callback that is called for each. The count is relaxed: it publishes
/// nothing, and a thread that has synchronised with the thread of a panic sees it counted.
pub(crate) struct PanicMonitor<C> {
    count: AtomicU64,
    pub(crate) callback: CallbackCell<C>,
}

impl<C> PanicMonitor<C> {
    pub(crate) fn new() -> Self {
        Self {
            count: AtomicU64::new(0),
            callback: CallbackCell::new(),
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
    }
}

pub(crate) type PanicCallback = Box<dyn Fn(&PanicInfo<'_>) + Send + Sync>;

/// The state that the handlers of a registry share, and that lives as long as one of them does: the
/// monitor that their panics are reported to, and the topic they belong to.
pub(crate) struct Scope<T: Parent + ?Sized = dyn Parent> {
    pub(crate) monitor: PanicMonitor<PanicCallback>,
    pub(crate) parent: T,
}

/// The topic that a registry serves; `()` if it serves none.
pub(crate) trait Parent: Send + Sync {
    /// Counts a panic for all topics.
    fn count_panic(&self) {}

    /// Reports a panic to the callback of all topics, and to `tracing`.
    fn report_panic(&self, info: &PanicInfo<'_>) {
        telemetry::panicked(info);
    }

    /// Returns the time from which on a call is slow, if slow calls are to be reported.
    fn slow_limit(&self) -> Option<Duration> {
        None
    }

    /// Reports a slow call of a handler.
    fn report_slow(&self, _info: &HandlerInfo, _time: Duration) {}

    /// Records a change of the number of handlers. Called under the writer lock.
    fn length_changed_locked(&self, _from: usize, _to: usize) {}

    /// Reports a change of the number of handlers. Called by an owner after the lock was released,
    /// and when a registry is dropped with handlers.
    fn length_changed(&self, _from: usize, _to: usize) {}

    /// Removes the topic if it is idle. Called after its last owner was dropped.
    fn prune(&self) {}

    /// Waits until all look-ups of this topic that have begun have ended.
    fn wait_for_lookups(&self) {}
}

impl Parent for () {}

impl<T: Parent> Scope<T> {
    pub(crate) fn new(parent: T) -> Self {
        Self {
            monitor: PanicMonitor::new(),
            parent,
        }
    }
}

impl<T: Parent + ?Sized> Scope<T> {
    /// Counts and reports a panic, then drops its payload. If that drop panics too, it counts as
    /// another panic; its payload is leaked, because its destructor might panic as well.
    #[cold]
    pub(crate) fn report(&self, registrant: Registrant, origin: PanicOrigin, payload: Payload) {
        self.report_once(registrant, origin, &*payload);
        if let Some(second) = drop_payload(payload) {
            self.report_once(registrant, PanicOrigin::Destructor, &*second);
            mem::forget(second);
        }
    }

    /// Removes the topic if it is idle. `Hash` and `Eq` of its key run here, possibly in a
    /// destructor. If they panic, the panic is discarded, and the topic is not removed.
    pub(crate) fn prune(&self) {
        catch_and_discard(|| self.parent.prune());
    }

    /// Waits for look-ups of the topic. As in [`prune`](Self::prune), `Hash` and `Eq` of the key
    /// run here.
    pub(crate) fn wait_for_lookups(&self) {
        catch_and_discard(|| self.parent.wait_for_lookups());
    }

    fn count_panic(&self) {
        self.monitor.add();
        self.parent.count_panic();
    }

    fn report_once(&self, registrant: Registrant, origin: PanicOrigin, payload: &(dyn Any + Send)) {
        self.count_panic();
        unless_in_callback(Reported::Panic, || {
            let info = PanicInfo::new(registrant, origin, payload);
            let thrown = self.monitor.callback.call(|callback| callback(&info));
            count_and_drop(thrown, || self.count_panic());
            self.parent.report_panic(&info);
        });
    }

    /// Reports a slow call of a handler.
    pub(crate) fn report_slow(&self, info: &HandlerInfo, time: Duration) {
        unless_in_callback(Reported::SlowCall, || self.parent.report_slow(info, time));
    }
}

/// What a callback is called for. The numbers are bits.
#[derive(Clone, Copy)]
enum Reported {
    Panic = 1,
    SlowCall = 2,
}

/// Runs `report` unless this thread is inside another report of the same kind. A callback may notify
/// any registry. What it meets there of its own kind is not reported, or a registry that reports to
/// itself would recurse endlessly. `report` must not panic.
fn unless_in_callback(kind: Reported, report: impl FnOnce()) {
    thread_local_const!(INSIDE: Cell<u8> = Cell::new(0));
    let outside = INSIDE.with(|inside| inside.replace(inside.get() | kind as u8));
    if outside & kind as u8 != 0 {
        return;
    }
    report();
    INSIDE.with(|inside| inside.set(outside));
}

impl<T: Parent + ?Sized> Drop for Scope<T> {
    fn drop(&mut self) {
        let outcome = self.monitor.callback.set(None);
        count_and_drop(outcome.err(), || self.count_panic());
    }
}
