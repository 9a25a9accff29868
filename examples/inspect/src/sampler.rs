//! The thread that looks at the topics, when it is asked to. Code of the program may hold it up:
//! the `Debug` of a key, a destructor. So nothing waits for it without a time limit.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};
use std::{io, thread};

use tokio::sync::oneshot;

use crate::query::{Query, Since};
use crate::reports::Reports;
use crate::sample::{Base, Sample};
use crate::view::View;
use crate::watched::{Contained, Source};

/// How long a sample is good for, however many look.
const FRESH: Duration = Duration::from_millis(400);
/// After that, nobody is looking any more, and the last sample is forgotten.
const IDLE: Duration = Duration::from_secs(10);
/// How many pages can each have a time since which they compare, and for how long they may look
/// elsewhere.
const MOST_BASES: usize = 8;
const BASE_KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// How many requests may wait.
const MOST_WAITING: usize = 64;

/// What is watched, and what is shown beside it.
#[derive(Default)]
pub(crate) struct Watch {
    pub(crate) names: Vec<String>,
    pub(crate) sources: Contained<Source>,
    pub(crate) reports: Vec<(String, Reports)>,
}

/// Where to ask for documents. The thread ends with the last clone.
#[derive(Clone)]
pub(crate) struct Asker(SyncSender<Job>);

struct Job {
    query: Query,
    answer: oneshot::Sender<Vec<u8>>,
}

struct Sampler {
    watch: Watch,
    last: Option<Sample>,
    /// Those that were used last are in front.
    bases: VecDeque<(Base, Instant)>,
}

/// Starts the thread.
pub(crate) fn start(watch: Watch) -> io::Result<Asker> {
    let (asker, jobs) = sync_channel(MOST_WAITING);
    let mut sampler = Sampler {
        watch,
        last: None,
        bases: VecDeque::new(),
    };
    let thread = thread::Builder::new().name("topic-registry-inspect-sampler".into());
    thread.spawn(move || sampler.run(&jobs))?;
    Ok(Asker(asker))
}

impl Asker {
    /// Returns the document, as JSON, or `None` if the thread does not answer.
    pub(crate) async fn ask(&self, query: Query, limit: Duration) -> Option<Vec<u8>> {
        let (answer, answered) = oneshot::channel();
        match self.0.try_send(Job { query, answer }) {
            Ok(()) => tokio::time::timeout(limit, answered).await.ok()?.ok(),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => None,
        }
    }
}

impl Sampler {
    fn run(&mut self, jobs: &Receiver<Job>) {
        loop {
            match jobs.recv_timeout(IDLE) {
                // Who has asked may have given up.
                Ok(job) if job.answer.is_closed() => {}
                Ok(job) => {
                    let answer = self.answer(&job.query);
                    let _ = job.answer.send(answer);
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.last = None;
                    self.bases.retain(|(_, used)| used.elapsed() < BASE_KEPT);
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn answer(&mut self, query: &Query) -> Vec<u8> {
        let before = self.last.take_if(|last| last.age() >= FRESH);
        let before = before.filter(|before| before.age() < IDLE);
        let sources = || self.watch.sources.0.iter();
        let sample = match self.last.take() {
            Some(fresh) => fresh,
            None => Sample::take(sources(), before.as_ref()),
        };
        // Before the rest is made: it may be large.
        drop(before);
        let asked = |(name, _): &&(String, Reports)| {
            query.registry.as_ref().is_none_or(|registry| registry == name)
        };
        let reports = self.watch.reports.iter().filter(asked);
        let mut reports: Vec<_> = reports.flat_map(|(name, reports)| reports.list(name)).collect();
        reports.sort_by_key(|report| std::cmp::Reverse(report.last));
        let since = query.since.map(|since| self.base(since, &sample));
        let view = View {
            sample: &sample,
            base: since.and_then(|()| self.bases.front()).map(|(base, _)| base),
            names: &self.watch.names,
        };
        let document = serde_json::to_vec(&view.document(query, reports));
        self.last = Some(sample);
        document.expect("it has no map, and so no key that is no text")
    }

    /// Moves the base of a page to the front, and makes one if there is none.
    fn base(&mut self, since: Since, sample: &Sample) {
        let is_it = |base: &Base| match since {
            Since::New => base.taken == sample.taken,
            Since::Taken(taken) => base.taken == taken,
        };
        let found = self.bases.iter().position(|(base, _)| is_it(base));
        let found = found.and_then(|at| self.bases.remove(at));
        let base = found.map_or_else(|| Base::new(sample), |(base, _)| base);
        self.bases.push_front((base, Instant::now()));
        self.bases.truncate(MOST_BASES);
    }
}
