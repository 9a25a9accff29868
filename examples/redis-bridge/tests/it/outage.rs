//! Redis goes away and comes back: handlers here hear all along, those elsewhere soon again.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use redis_bridge::peer::{Peer, Tally};
use redis_bridge::{Bridge, Published, Topics};
use topic_registry::HandlerGuard;

use crate::support::{PATIENCE, PROGRAM, Server, connect, say, tally, wait_for};

/// How soon after its start messages get through again.
const SOON: Duration = Duration::from_secs(5);

/// For how long it is away: if pauses between attempts went on to double, they would be longer
/// than `SOON` by then.
const AWAY: Duration = Duration::from_secs(7);

/// For how long nothing happens: longer than a bridge waits for a server that hangs.
const QUIET: Duration = Duration::from_secs(5);

#[test]
fn delivery_resumes_when_the_server_is_back_and_nothing_is_doubled() {
    let Some(mut server) = Server::start() else {
        return;
    };
    let topics = Topics::new();
    let mut talk = Talk::new(connect(&server, &topics), &topics);
    talk.bridge.settle(PATIENCE).unwrap();
    let peer = Peer::start(Path::new(PROGRAM), &server.url()).unwrap();
    talk.there_and_back(1000);
    assert_eq!(talk.bridge.lost(), 0);

    // Some of these are on their way when the connections break.
    for _ in 0..500 {
        assert!(talk.ask().is_queued);
    }
    server.stop();
    let before = talk.asked;
    wait_for("a message to be refused", || !talk.ask().is_queued);
    assert!(
        talk.asked - before < 500,
        "refused only when the queue was full"
    );
    assert!(
        talk.bridge.lost() > 1,
        "one is refused, and those before it are lost"
    );
    let away = Instant::now();
    while away.elapsed() < AWAY {
        let published = talk.ask();
        assert!(!published.is_queued);
        assert_eq!(published.local.called(), 1);
        thread::sleep(Duration::from_millis(1));
    }

    let start = Instant::now();
    server.restart();
    let answer = talk.ask_until_answered();
    let resumed = start.elapsed();
    say(&format!(
        "outage: resumed {resumed:?} after the start of the server, with {answer}"
    ));
    assert!(resumed < SOON, "resumed after {resumed:?}");
    talk.there_and_back(1000);

    let heard = peer.end().unwrap();
    assert_eq!(heard.matches(", 0 doubled").count(), 2, "{heard}");
    assert_eq!(talk.own.to_string(), format!("{}, 0 doubled", talk.asked));
    let answered = talk.answered.to_string();
    assert!(answered.ends_with(", 0 doubled"), "{answered}");
}

#[test]
fn a_server_that_hangs_is_told_from_a_quiet_one() {
    let Some(server) = Server::start() else {
        return;
    };
    let (here, there) = (Topics::new(), Topics::new());
    let (sender, receiver) = (connect(&server, &here), connect(&server, &there));
    let (heard, _guard) = tally(&there, "news");
    receiver.settle(PATIENCE).unwrap();
    let start = Instant::now();
    while start.elapsed() < QUIET {
        assert_eq!((sender.fault(), receiver.fault()), (None, None));
        thread::sleep(Duration::from_millis(5));
    }

    server.signal("STOP");
    wait_for("both to notice", || {
        [&sender, &receiver].iter().all(|it| it.fault().is_some())
    });
    server.signal("CONT");
    wait_for("both to be back", || {
        [&sender, &receiver].iter().all(|it| it.fault().is_none())
    });
    receiver.settle(PATIENCE).unwrap();
    assert!(sender.publish("news", "back").is_queued);
    wait_for("the news", || heard.to_string() == "1, 0 doubled");
}

/// Questions to the other process, which are numbers, and its answers.
struct Talk {
    bridge: Bridge,
    asked: usize,
    own: Arc<Tally>,
    answered: Arc<Tally>,
    answers: Receiver<usize>,
    _guards: [HandlerGuard; 3],
}

impl Talk {
    fn new(bridge: Bridge, topics: &Topics) -> Self {
        let (own, own_guard) = tally(topics, "ping");
        let (answered, tally_guard) = tally(topics, "pong");
        let (answer, answers) = mpsc::channel();
        let answer_guard = topics.register_guard("pong", move |text| {
            let number = text.parse().expect("a number");
            answer.send(number).expect("it is waited for");
        });
        Self {
            bridge,
            asked: 0,
            own,
            answered,
            answers,
            _guards: [own_guard, tally_guard, answer_guard],
        }
    }

    fn ask(&mut self) -> Published {
        let published = self.bridge.publish("ping", &self.asked.to_string());
        self.asked += 1;
        published
    }

    /// Asks one question after the other; those that were asked before may still be answered.
    fn there_and_back(&mut self, count: usize) {
        for _ in 0..count {
            let awaited = self.asked;
            assert!(self.ask().is_queued, "{awaited}: {:?}", self.bridge.fault());
            let hung = |why| panic!("waited {PATIENCE:?} for the answer to {awaited}: {why}");
            while self.answers.recv_timeout(PATIENCE).unwrap_or_else(hung) < awaited {}
        }
    }

    /// Asks from time to time; the first answer to a question that is asked from now on.
    fn ask_until_answered(&mut self) -> usize {
        let first = self.asked;
        let mut answer = None;
        wait_for("an answer, now that the server is back", || {
            // It may be refused yet.
            let _ = self.ask();
            answer = self.answers.try_iter().find(|answer| *answer >= first);
            answer.is_some()
        });
        answer.expect("it was waited for")
    }
}
