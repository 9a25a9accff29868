//! Handlers that are called, and have ended when the call returns: of the sync flavor, and hooks.

use std::mem;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::handler;
use crate::handler::counted::{counted, in_run};
use crate::handler::delivery::{Delivery, Outcome, Sum};
use crate::handler::flavor::{EventRef, Flavor, HandlerArc};
use crate::handler::wrapped::Wrapped;
use crate::handler::{Callable, Header, NeedsNoDrop, Once, Stored, stopwatch};
use crate::registry::options::{RegisterOptions, Returns};
use crate::report::panic::{Held, catch};
use crate::snapshot::list::{Chunk, List, Run};

/// A flavor whose handlers have ended when their call returns.
pub trait InlineFlavor<E: ?Sized + 'static>:
    Flavor<E, Handler = dyn InlineHandler<Self, E>>
{
    /// Passes an event once more, for a call that ends before the caller's.
    fn again<'a, 'e: 'a>(event: &'a mut EventRef<'_, 'e, Self, E>) -> EventRef<'a, 'e, Self, E>;
}

/// A handler that a dispatch can call.
pub trait InlineHandler<F: InlineFlavor<E>, E: ?Sized + 'static>: handler::Handler {
    /// Calls the closure unless the handler was removed or is paused, and reports its panic.
    /// Returns the sum with the outcome added: passed from call to call, the sum occupies no
    /// register of the dispatch.
    fn call(&self, event: EventRef<'_, '_, F, E>, sum: Sum) -> Sum;

    /// Calls all handlers of a run, of which this is the first, in order. This is a single call
    /// because the compiler knows the closure's type here, and inlines the closure into the loop.
    fn call_run(
        &self,
        run: Run<'_, HandlerArc<F, E>>,
        event: EventRef<'_, '_, F, E>,
        sum: Sum,
    ) -> Sum;
}

impl<F, E, C> InlineHandler<F, E> for Callable<C>
where
    F: InlineFlavor<E>,
    E: ?Sized + 'static,
    C: Stored<Closure: Fn(EventRef<'_, '_, F, E>, &Header) -> Outcome> + Send + Sync + 'static,
{
    #[inline]
    fn call(&self, event: EventRef<'_, '_, F, E>, sum: Sum) -> Sum {
        let Some(closure) = self.live() else {
            return sum.and(Outcome::Skipped);
        };
        sum.and(match catch(|| closure(event, &self.header)) {
            Ok(outcome) => outcome,
            Err(payload) => self.header.panicked(payload),
        })
    }

    fn call_run(
        &self,
        run: Run<'_, HandlerArc<F, E>>,
        event: EventRef<'_, '_, F, E>,
        sum: Sum,
    ) -> Sum {
        call_alike::<F, E, Self>(self, run, event, sum)
    }
}

impl<F, E> InlineHandler<F, E> for Wrapped<dyn InlineHandler<F, E>>
where
    F: InlineFlavor<E>,
    E: ?Sized + 'static,
{
    fn call(&self, event: EventRef<'_, '_, F, E>, sum: Sum) -> Sum {
        match self.begin() {
            Some(call) => call.call(event, sum),
            None => sum.and(Outcome::Skipped),
        }
    }

    fn call_run(
        &self,
        run: Run<'_, HandlerArc<F, E>>,
        event: EventRef<'_, '_, F, E>,
        sum: Sum,
    ) -> Sum {
        call_alike::<F, E, Self>(self, run, event, sum)
    }
}

#[inline]
fn call_alike<F, E, S>(
    first: &S,
    run: Run<'_, HandlerArc<F, E>>,
    mut event: EventRef<'_, '_, F, E>,
    sum: Sum,
) -> Sum
where
    F: InlineFlavor<E>,
    E: ?Sized + 'static,
    S: InlineHandler<F, E>,
{
    in_run(first, run).fold(sum, |sum, handler| handler.call(F::again(&mut event), sum))
}

/// Makes a handler.
pub(super) fn callable<F, E, C>(header: Header, call: C) -> HandlerArc<F, E>
where
    F: InlineFlavor<E>,
    E: ?Sized + 'static,
    C: Fn(EventRef<'_, '_, F, E>, &Header) -> Outcome + Send + Sync + 'static,
{
    if const { !mem::needs_drop::<C>() } {
        counted(Arc::new(Callable::new(header, NeedsNoDrop(call))))
    } else if const { handler::is_large::<C>() } {
        // In a box, it is not moved to be dropped.
        counted(Arc::new(Callable::new(header, Some(Box::new(call)))))
    } else {
        counted(Arc::new(Callable::new(header, Some(call))))
    }
}

/// The bodies of the `register...` calls, which each flavor has with its own signatures.
impl<F: InlineFlavor<E>, E: ?Sized + 'static, R: Returns<F, E>> RegisterOptions<'_, F, E, R> {
    #[track_caller]
    pub(super) fn add_plain<C>(self, handler: C) -> R::Registered
    where
        C: Fn(EventRef<'_, '_, F, E>) + Send + Sync + 'static,
    {
        let header = self.header();
        self.add(stopwatch::inline::<F, E, _>(header, handler, |()| {
            Outcome::Called
        }))
    }

    #[track_caller]
    pub(super) fn add_once<C>(self, handler: C) -> R::Registered
    where
        C: FnOnce(EventRef<'_, '_, F, E>) + Send + 'static,
    {
        if const { handler::is_large::<C>() } {
            // A `FnOnce` is moved to be called, unless it is unsized.
            let handler: Box<dyn FnOnce(EventRef<'_, '_, F, E>) + Send> = Box::new(handler);
            return self.add_taken(handler);
        }
        self.add_taken(handler)
    }

    #[track_caller]
    fn add_taken<C>(self, handler: C) -> R::Registered
    where
        C: FnOnce(EventRef<'_, '_, F, E>) + Send + 'static,
    {
        let header = self.header();
        let once = Once::new(self.registry.registration(header.id()), handler);
        self.add(F::inline(header, move |event, header| match once.take() {
            Some(handler) => {
                header.time(|| handler(event));
                Outcome::Called
            }
            None => Outcome::Skipped,
        }))
    }

    #[track_caller]
    pub(super) fn add_until<C>(self, handler: C) -> R::Registered
    where
        C: Fn(EventRef<'_, '_, F, E>) -> ControlFlow<()> + Send + Sync + 'static,
    {
        let header = self.header();
        let registration = self.registry.registration(header.id());
        let outcome = move |flow: ControlFlow<()>| {
            if flow.is_break() {
                registration.remove();
            }
            Outcome::Called
        };
        self.add(stopwatch::inline::<F, E, _>(header, handler, outcome))
    }
}

/// Calls the handlers in order.
#[inline(always)]
pub(super) fn dispatch<F, E>(
    list: &List<HandlerArc<F, E>>,
    event: EventRef<'_, '_, F, E>,
) -> Delivery
where
    F: InlineFlavor<E>,
    E: ?Sized + 'static,
{
    Delivery::from(match list {
        List::One(handler) => handler.call(event, Sum::default()),
        List::Alike(alike) => call_run::<F, E>(alike.run(), event, Sum::default()),
        list => call_many::<F, E>(list, event),
    })
}

/// Calls the handlers in order, with an event that `pass` passes, and that is dropped afterwards.
#[inline(always)]
pub(super) fn dispatch_created<'e, F, E, T>(
    list: &List<HandlerArc<F, E>>,
    event: T,
    pass: impl for<'a> FnOnce(&'a mut T) -> EventRef<'a, 'e, F, E>,
) -> Delivery
where
    F: InlineFlavor<E>,
    E: ?Sized + 'static,
{
    // While `pass` runs: handlers do not unwind.
    let mut event = Held::new(event);
    let delivery = dispatch::<F, E>(list, pass(&mut event));
    drop(event.into_inner());
    delivery
}

#[inline(always)]
fn call_run<F, E>(run: Run<'_, HandlerArc<F, E>>, event: EventRef<'_, '_, F, E>, sum: Sum) -> Sum
where
    F: InlineFlavor<E>,
    E: ?Sized + 'static,
{
    match run.items().first() {
        Some(first) => first.call_run(run, event, sum),
        None => sum,
    }
}

/// Calls the handlers of a list that is neither `One` nor `Alike`. A separate function, so that
/// [`dispatch`] is inlined into its caller.
#[inline(never)]
fn call_many<F, E>(list: &List<HandlerArc<F, E>>, event: EventRef<'_, '_, F, E>) -> Sum
where
    F: InlineFlavor<E>,
    E: ?Sized + 'static,
{
    match list {
        List::Mixed(handlers) => call_each::<F, E>(handlers, event, Sum::default()),
        List::Chunked {
            chunks,
            interceptors: 0,
        } => call_chunks::<F, E>(chunks, event),
        list => call_until_stopped::<F, E>(list, event),
    }
}

/// Calls the handlers in groups of four: the speed of a loop with a single call depends on code
/// placement, and even its best is slower.
#[inline]
fn call_each<F, E>(
    handlers: &[HandlerArc<F, E>],
    mut event: EventRef<'_, '_, F, E>,
    mut sum: Sum,
) -> Sum
where
    F: InlineFlavor<E>,
    E: ?Sized + 'static,
{
    let mut fours = handlers.chunks_exact(4);
    for four in &mut fours {
        sum = four[0].call(F::again(&mut event), sum);
        sum = four[1].call(F::again(&mut event), sum);
        sum = four[2].call(F::again(&mut event), sum);
        sum = four[3].call(F::again(&mut event), sum);
    }
    let rest = fours.remainder().iter();
    rest.fold(sum, |sum, handler| handler.call(F::again(&mut event), sum))
}

/// Calls the handlers of chunks: those of a run together. A separate function, so that the nested
/// loop costs short lists no registers.
#[inline(never)]
fn call_chunks<F, E>(chunks: &[Chunk<HandlerArc<F, E>>], mut event: EventRef<'_, '_, F, E>) -> Sum
where
    F: InlineFlavor<E>,
    E: ?Sized + 'static,
{
    let mut sum = Sum::default();
    for chunk in chunks {
        if let Some(handlers) = chunk.mixed() {
            sum = call_each::<F, E>(handlers, F::again(&mut event), sum);
        } else {
            for run in chunk.runs() {
                sum = call_run::<F, E>(run, F::again(&mut event), sum);
            }
        }
    }
    sum
}

/// Calls the handlers in order, up to the first that stops the dispatch.
#[inline(never)]
fn call_until_stopped<F, E>(list: &List<HandlerArc<F, E>>, mut event: EventRef<'_, '_, F, E>) -> Sum
where
    F: InlineFlavor<E>,
    E: ?Sized + 'static,
{
    let mut sum = Sum::default();
    for handler in list.iter() {
        sum = handler.call(F::again(&mut event), sum);
        if sum.is_stopped() {
            break;
        }
    }
    sum
}
