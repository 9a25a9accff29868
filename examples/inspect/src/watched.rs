//! [`Watched`]: what can be watched. The only file that asks registries and topics for anything.

use std::any::Any;
use std::fmt::Debug;
use std::mem;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use topic_registry::{
    Calls, Flavor, HandlerId, HandlerInfo, Key, Registry, TopicInfo, Topics, WeakRegistry,
    WeakTopics,
};

/// What an [`Inspector`](crate::Inspector) can watch: topics whose keys have a `Debug`, and single
/// registries, of any flavor. Sealed.
///
/// For keys without a `Debug`, or to show them in another way, there is
/// [`Inspector::watch_by`](crate::Inspector::watch_by).
pub trait Watched {
    #[doc(hidden)]
    fn source(&self) -> Source;
}

/// A weak reference to what is watched.
#[doc(hidden)]
#[allow(missing_debug_implementations, reason = "nobody can name it")]
pub struct Source(Box<dyn Read + Send>);

/// What a topic says of itself at one moment.
pub(crate) struct ReadTopic {
    pub(crate) key: String,
    pub(crate) handles: usize,
    pub(crate) panics: u64,
    pub(crate) handlers: Vec<ReadHandler>,
}

pub(crate) struct ReadHandler {
    pub(crate) id: HandlerId,
    pub(crate) place: &'static Location<'static>,
    pub(crate) name: Option<Arc<str>>,
    pub(crate) paused: bool,
    /// `None` if the topics do not count calls.
    pub(crate) calls: Option<ReadCalls>,
    /// The number of calls since the sample before, for that sample to say.
    pub(crate) fresh: u64,
}

/// In nanoseconds, and so half as large: there may be a lot of handlers.
#[derive(Clone, Copy, Default)]
pub(crate) struct ReadCalls {
    pub(crate) count: u64,
    pub(crate) total: u64,
    pub(crate) longest: u64,
}

/// Why there is nothing to read.
pub(crate) enum Unread {
    /// It was dropped.
    Gone,
    /// Code of the program panicked: the `Clone`, `Hash` or `Eq` of a key.
    Panicked,
}

impl Source {
    /// Calls `found` with each topic, in no order. Returns the number of panics in all of them.
    pub(crate) fn read(&self, found: &mut dyn FnMut(ReadTopic)) -> Result<u64, Unread> {
        catch(|| self.0.read(found)).unwrap_or(Err(Unread::Panicked))
    }
}

/// Returns a source of topics whose keys `show` turns into text.
pub(crate) fn topics<F, K, E>(
    topics: &Topics<F, K, E>,
    show: impl Fn(&K) -> String + Send + 'static,
) -> Source
where
    F: Flavor<E>,
    K: Key,
    E: ?Sized + 'static,
    WeakTopics<F, K, E>: Send,
{
    Source(Box::new(ByKey {
        topics: topics.downgrade(),
        show,
    }))
}

/// Returns the text of a key: text as it is, everything else by its `Debug`.
pub(crate) fn text_of<K: Debug + 'static>(key: &K) -> String {
    let any: &dyn Any = key;
    let text = any.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| any.downcast_ref::<&'static str>().copied());
    let text = text.or_else(|| any.downcast_ref::<Arc<str>>().map(|text| &**text));
    text.map_or_else(|| format!("{key:?}"), str::to_owned)
}

/// Returns the text of a key that `show` makes, or what is said of a key that panics there.
pub(crate) fn shown(show: impl FnOnce() -> String) -> String {
    catch(show).unwrap_or_else(|| "(this key panics when it is shown)".into())
}

impl<F, K, E> Watched for Topics<F, K, E>
where
    F: Flavor<E>,
    K: Key + Debug,
    E: ?Sized + 'static,
    WeakTopics<F, K, E>: Send,
{
    fn source(&self) -> Source {
        topics(self, text_of)
    }
}

impl<F, E> Watched for Registry<F, E>
where
    F: Flavor<E>,
    E: ?Sized + 'static,
    WeakRegistry<F, E>: Send,
{
    fn source(&self) -> Source {
        Source(Box::new(self.downgrade()))
    }
}

trait Read {
    fn read(&self, found: &mut dyn FnMut(ReadTopic)) -> Result<u64, Unread>;
}

struct ByKey<F: Flavor<E>, K: Key, E: ?Sized + 'static, S> {
    topics: WeakTopics<F, K, E>,
    show: S,
}

impl<F, K, E, S> Read for ByKey<F, K, E, S>
where
    F: Flavor<E>,
    K: Key,
    E: ?Sized + 'static,
    S: Fn(&K) -> String,
{
    /// Each strong reference lives for one call. If the program drops the last of its own in that
    /// time, what it drops ends on this thread.
    fn read(&self, found: &mut dyn FnMut(ReadTopic)) -> Result<u64, Unread> {
        let all = || self.topics.upgrade().ok_or(Unread::Gone);
        // Not in the head of the loop, which would keep the topics until the loop ends.
        let listed = Contained(all()?.topics());
        for TopicInfo { key, handles, .. } in &listed.0 {
            // A topic may be gone by now.
            let Some(topic) = all()?.get(key) else {
                continue;
            };
            let (panics, handlers) = (topic.panic_count(), topic.handlers());
            // Before the key is shown: that may take any time.
            drop(topic);
            found(ReadTopic {
                key: shown(|| (self.show)(key)),
                handles: *handles,
                panics,
                handlers: handlers.into_iter().map(ReadHandler::of).collect(),
            });
        }
        Ok(all()?.panic_count())
    }
}

/// A registry is shown as a topic without a name.
impl<F: Flavor<E>, E: ?Sized + 'static> Read for WeakRegistry<F, E> {
    fn read(&self, found: &mut dyn FnMut(ReadTopic)) -> Result<u64, Unread> {
        let registry = self.upgrade().ok_or(Unread::Gone)?;
        let panics = registry.panic_count();
        found(ReadTopic {
            key: String::new(),
            handles: 0,
            panics,
            handlers: registry.handlers().into_iter().map(ReadHandler::of).collect(),
        });
        Ok(panics)
    }
}

impl ReadHandler {
    fn of(info: HandlerInfo) -> Self {
        Self {
            id: info.id,
            place: info.registered_at,
            name: info.name,
            paused: info.paused,
            calls: info.calls.as_ref().map(ReadCalls::of),
            fresh: 0,
        }
    }
}

impl ReadCalls {
    fn of(calls: &Calls) -> Self {
        Self {
            count: calls.count,
            total: nanos(calls.total),
            longest: nanos(calls.longest),
        }
    }
}

/// Values of the program. Each is dropped by itself: if the destructors of two panicked in one
/// unwinding, that would abort the process.
pub(crate) struct Contained<T>(pub(crate) Vec<T>);

impl<T> Default for Contained<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Drop for Contained<T> {
    fn drop(&mut self) {
        while let Some(value) = self.0.pop() {
            catch(|| drop(value));
        }
    }
}

pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Runs code of the program, whose panic is dropped: the panic hook has told of it.
fn catch<R>(f: impl FnOnce() -> R) -> Option<R> {
    let outcome = catch_unwind(AssertUnwindSafe(f));
    outcome
        .map_err(|payload| {
            // If its destructor panics too, that payload is leaked: this might never end.
            let second = catch_unwind(AssertUnwindSafe(|| drop(payload)));
            second.map_err(mem::forget)
        })
        .ok()
}
