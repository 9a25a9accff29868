//! What one thread can do with topics, and what ought to come of it: a plain map of sorted vectors.

use std::cmp::Reverse;
use std::collections::BTreeMap;

/// A few, so that what happens meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(fuzzing, derive(arbitrary::Arbitrary))]
pub(crate) enum Key {
    A,
    B,
    C,
}

/// What a handler does when it is called, or when its closure is dropped.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(fuzzing, derive(arbitrary::Arbitrary))]
pub(crate) enum Does {
    Nothing,
    Panics,
    PanicsInItsDrop,
    /// It leaves nothing behind: when a closure is dropped beside a pin or a dispatch, is not
    /// for the model to say.
    RegistersAndRemovesInItsDrop(Key),
    Registers(Key, i8),
    Removes(Key),
    Clears,
    /// It owns one until it is called.
    DropsItsHandle(Key),
    /// It pauses all handlers of the topic, and resumes them: nobody is called in between.
    NotifiesWhatItPauses(Key),
}

#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(fuzzing, derive(arbitrary::Arbitrary))]
pub(crate) enum How {
    Always,
    Guarded,
    Once,
    GuardedOnce,
    JoinGuard,
    /// It stops the dispatch.
    Interceptor,
    /// It ends itself, by the second call that returns.
    Until,
    JoinableUntil,
    /// Somebody waits for the second call that returns.
    WaitFor,
    Recorder,
}

#[derive(Clone, Copy, Debug)]
#[cfg_attr(fuzzing, derive(arbitrary::Arbitrary))]
pub(crate) enum Way {
    Key,
    Handle,
    Pin,
}

/// Which one of those there are: a number of any size.
pub(crate) type Pick = u8;

#[derive(Clone, Debug)]
#[cfg_attr(fuzzing, derive(arbitrary::Arbitrary))]
pub(crate) enum Op {
    Register(Key, i8, Does, How),
    Unregister(Pick),
    DropGuard(Pick),
    Notify(Key, Way),
    Remove(Key),
    Clear,
    Handle(Key),
    Pin(Key),
    Bare(Key),
    DropOwner(Pick),
    Downgrade(Key),
    Upgrade(Pick),
    Pause(Pick),
    Resume(Pick),
    /// Looks whether that came which a guard waits for.
    Look(Pick),
    Batch(Key, Vec<(i8, Does)>, Vec<Pick>, bool),
    Shrink,
    /// Sets an observer of interest.
    Observe,
    EndObserver(Pick),
}

/// A handler's number: handlers get theirs in the order of registration, in both worlds.
pub(crate) type Name = u32;

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) name: Name,
    pub(crate) priority: i8,
    does: Does,
    how: How,
    /// Of which topic it owns a handle.
    owns: Option<Key>,
    /// How often it is paused.
    pub(crate) pauses: usize,
    /// How many of its calls have returned.
    returned: u32,
}

/// What ought to be.
#[derive(Default)]
pub(crate) struct Model {
    pub(crate) topics: BTreeMap<Key, Vec<Entry>>,
    pub(crate) next: Name,
    pub(crate) calls: Vec<Name>,
    pub(crate) panics: u64,
    /// The number of values of each wait and recorder that were not taken yet.
    pub(crate) mail: BTreeMap<Name, usize>,
}

impl Model {
    pub(crate) fn add(&mut self, key: Key, priority: i8, does: Does, how: How) -> Name {
        let name = self.next;
        self.next += 1;
        let entries = self.topics.entry(key).or_default();
        entries.push(Entry {
            name,
            priority,
            does,
            how,
            owns: does.owns(),
            pauses: 0,
            returned: 0,
        });
        entries.sort_by_key(|entry| (Reverse(entry.priority), entry.name));
        name
    }

    /// Removes those, whose closures go with them; whether there were any.
    pub(crate) fn remove(&mut self, goes: impl Fn(Key, &Entry) -> bool) -> bool {
        let mut gone = 0;
        for (key, entries) in &mut self.topics {
            entries.retain(|entry| {
                let goes = goes(*key, entry);
                gone += u64::from(goes);
                self.panics += u64::from(goes && entry.does == Does::PanicsInItsDrop);
                !goes
            });
        }
        gone != 0
    }

    /// The topics that there must be, if there are handles of these.
    pub(crate) fn alive(&self, mut keys: Vec<Key>) -> Vec<Key> {
        for (key, entries) in &self.topics {
            keys.extend((!entries.is_empty()).then_some(*key));
            keys.extend(entries.iter().filter_map(|entry| entry.owns));
        }
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    pub(crate) fn get(&mut self, name: Name) -> Option<&mut Entry> {
        let mut entries = self.topics.values_mut().flatten();
        entries.find(|entry| entry.name == name)
    }

    pub(crate) fn is_live(&self, name: Name) -> bool {
        self.topics.values().flatten().any(|entry| entry.name == name)
    }

    pub(crate) fn names(&self, key: Key) -> Vec<Name> {
        let entries = self.topics.get(&key).map_or(&[][..], Vec::as_slice);
        entries.iter().map(|entry| entry.name).collect()
    }

    /// A call has returned, of a handler that may have been removed by it.
    fn returned(&mut self, name: Name) {
        let Some(entry) = self.get(name) else {
            return;
        };
        entry.returned += 1;
        let (how, is_second) = (entry.how, entry.returned == 2);
        if how == How::Recorder || how == How::WaitFor && is_second {
            *self.mail.entry(name).or_default() += 1;
        }
        let ends = matches!(how, How::Until | How::JoinableUntil | How::WaitFor);
        if ends && is_second {
            self.remove(|_, other| other.name == name);
        }
    }

    /// How many were called, how many panicked, and whether one stopped it.
    pub(crate) fn notify(&mut self, key: Key) -> (usize, usize, bool) {
        let (mut called, mut panicked, mut stopped) = (0, 0_u64, false);
        for entry in self.topics.get(&key).cloned().unwrap_or_default() {
            if self.get(entry.name).is_none_or(|entry| entry.pauses != 0) {
                continue;
            }
            if matches!(entry.how, How::Once | How::GuardedOnce) {
                self.remove(|_, other| other.name == entry.name);
                // What its destructor throws is thrown inside of the call, and not beside it.
                let in_the_call = u64::from(entry.does == Does::PanicsInItsDrop);
                (self.panics, panicked) = (self.panics - in_the_call, panicked + in_the_call);
            }
            called += 1;
            self.calls.push(entry.name);
            match entry.does {
                Does::Nothing
                | Does::PanicsInItsDrop
                | Does::RegistersAndRemovesInItsDrop(_)
                | Does::NotifiesWhatItPauses(_) => {}
                Does::Panics => panicked += 1,
                Does::DropsItsHandle(_) => {
                    if let Some(entry) = self.get(entry.name) {
                        entry.owns = None;
                    }
                }
                Does::Registers(key, priority) => {
                    self.add(key, priority, Does::Nothing, How::Always);
                }
                Does::Removes(key) => {
                    self.remove(|other, _| other == key);
                }
                Does::Clears => {
                    self.remove(|_, _| true);
                }
            }
            if entry.does != Does::Panics {
                self.returned(entry.name);
            }
            if entry.how == How::Interceptor {
                stopped = true;
                break;
            }
        }
        self.panics += panicked;
        (
            called,
            usize::try_from(panicked).expect("not more than there are handlers"),
            stopped,
        )
    }
}

impl Does {
    /// Of which topic a handler owns a handle that does this.
    pub(crate) fn owns(self) -> Option<Key> {
        match self {
            Self::DropsItsHandle(key) => Some(key),
            _ => None,
        }
    }
}
