//! Look-ups by key that take no lock: none reads a shard beside a writer. The stand-in for
//! `dashmap` checks that at each access. Even keys are in one shard, odd ones in the other, each
//! behind its own gate.

use std::hash::{Hash, Hasher};

use topic_registry::TopicRegistry;

use super::{Count, Topics, thread, together};

type Work = Box<dyn FnOnce() + Send>;

/// A key that is there all the time, one that may be removed, and one that may be created; and one
/// in the other shard.
pub(crate) const STAYS: u8 = 0;
const GOES: u8 = 2;
pub(crate) const COMES: u8 = 4;
const ELSEWHERE: u8 = 1;

/// Whether a look-up on this thread has made the map biased before.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Before {
    Open,
    Biased,
}

impl Before {
    /// Creates the second topic of the map: by then there were enough writers to end a bias.
    pub(crate) fn prepare(self, topics: &Topics) {
        create(topics, GOES);
        if self == Self::Biased {
            assert!(topics.contains_key(&STAYS));
        }
    }
}

/// What writes to the map.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Write {
    Create,
    /// More writers than a bias outlasts.
    CreateThree,
    CreateAndDrop,
    Remove,
    Shrink,
    /// Behind the other gate, so that a bias ends there.
    Elsewhere,
}

pub(crate) const WRITES: [Write; 5] = [
    Write::Create,
    Write::CreateThree,
    Write::CreateAndDrop,
    Write::Remove,
    Write::Shrink,
];

impl Write {
    fn work(self, topics: &Topics) -> Work {
        let topics = topics.clone();
        Box::new(move || match self {
            Self::Create => create(&topics, COMES),
            Self::CreateThree => (0..3).for_each(|n| create(&topics, COMES + 2 * n)),
            Self::CreateAndDrop => drop(topics.handle(COMES)),
            Self::Remove => assert!(topics.remove(&GOES)),
            Self::Shrink => topics.shrink_to_fit(),
            Self::Elsewhere => (0..2).for_each(|n| create(&topics, ELSEWHERE + 2 * n)),
        })
    }
}

/// Creates a topic that stays.
fn create(topics: &Topics, key: u8) {
    topics.register(key, |_| {});
}

fn topics(before: Before) -> Topics {
    let topics = Topics::new();
    create(&topics, STAYS);
    before.prepare(&topics);
    topics
}

/// Work that looks up so often.
fn looks_up(topics: &Topics, times: usize) -> Work {
    let topics = topics.clone();
    Box::new(move || {
        for _ in 0..times {
            assert!(topics.contains_key(&STAYS));
        }
    })
}

/// Threads that look up so often, beside writers. What was written is found.
pub(crate) fn look_up_beside(before: Before, look_ups: &[usize], writes: &[Write]) {
    let topics = topics(before);
    let mut work: Vec<Work> = writes.iter().map(|write| write.work(&topics)).collect();
    work.extend(look_ups.iter().map(|times| looks_up(&topics, *times)));
    together(work);
    let [creates, removes] = [[Write::Create, Write::CreateThree], [Write::Remove; 2]];
    let any = |of: [Write; 2]| writes.iter().any(|write| of.contains(write));
    assert!(topics.contains_key(&STAYS));
    assert_eq!(topics.contains_key(&COMES), any(creates));
    assert_eq!(topics.contains_key(&GOES), !any(removes));
}

/// A dispatch by key, beside a writer.
pub(crate) fn notify_beside(before: Before, write: Write) {
    let topics = topics(before);
    let notifier = topics.clone();
    together(vec![
        write.work(&topics),
        Box::new(move || assert_eq!(notifier.notify(&STAYS, &0).called(), 1)),
    ]);
}

/// A thread finds what it has written, and no more what it has removed, whoever begins a bias
/// meanwhile.
pub(crate) fn write_and_look_up_beside(before: Before, look_ups: usize) {
    let topics = topics(before);
    let same = topics.clone();
    together(vec![
        looks_up(&topics, look_ups),
        Box::new(move || {
            create(&same, COMES);
            assert!(same.contains_key(&COMES));
            assert!(same.remove(&COMES));
            assert!(!same.contains_key(&COMES));
        }),
    ]);
}

/// A thread looks up and ends, and another one comes, which may have its record, beside a writer.
pub(crate) fn look_up_on_threads_that_end(before: Before, write: Write) {
    let topics = topics(before);
    let writer = thread::spawn(write.work(&topics));
    for _ in 0..2 {
        let looks_up = thread::spawn(looks_up(&topics, 1));
        looks_up.join().expect("it does not panic");
    }
    writer.join().expect("it does not panic");
}

/// A key whose comparison looks a key up in other topics.
#[derive(Clone)]
struct Nested {
    number: u8,
    others: Topics,
    compared: Count,
}

impl PartialEq for Nested {
    fn eq(&self, other: &Self) -> bool {
        assert!(self.others.contains_key(&STAYS));
        self.compared.up();
        self.number == other.number
    }
}

impl Eq for Nested {}

impl Hash for Nested {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.number.hash(state);
    }
}

/// A look-up inside of a look-up in other topics, beside a writer of the outer ones, or of the
/// inner ones.
pub(crate) fn look_up_in_a_look_up(before: Before, is_outer: bool) {
    let (inner, outer) = (topics(before), TopicRegistry::<Nested, u32>::new());
    let compared = Count::default();
    let key = |number| Nested {
        number,
        others: inner.clone(),
        compared: compared.clone(),
    };
    outer.register(key(STAYS), |_| {});
    if before == Before::Biased {
        assert!(outer.contains_key(&key(STAYS)));
    }
    let (same, stays, comes) = (outer.clone(), key(STAYS), key(COMES));
    let write = if is_outer {
        Box::new(move || {
            outer.register(comes, |_| {});
        })
    } else {
        Write::Create.work(&inner)
    };
    together(vec![
        write,
        Box::new(move || {
            let before = stays.compared.get();
            assert!(same.contains_key(&stays));
            assert_ne!(stays.compared.get(), before, "it was compared");
        }),
    ]);
}
