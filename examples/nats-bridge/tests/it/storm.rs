//! Everything at once: many messages, topics that flap, handlers that block, and a server that is
//! restarted again and again. Nothing comes twice, the order is kept, and every loss is counted.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use topic_registry_nats::Remote;

use crate::support::{PATIENCE, Server, TextBridge, Topics, connect, say, settle, wait, wait_for};

/// In each direction.
const MESSAGES: u64 = 10_000;

#[test]
fn ten_thousand_messages_each_way_add_up_in_a_storm_of_some_seconds() {
    storm(Duration::from_secs(6));
}

/// Run by `.github/workflows/safety.yml`.
#[test]
#[ignore = "takes a minute"]
fn ten_thousand_messages_each_way_add_up_in_a_storm_of_a_minute() {
    storm(Duration::from_secs(60));
}

fn storm(time: Duration) {
    let Some(mut server) = Server::start() else {
        return;
    };
    let sides =
        [("ping", "pong"), ("pong", "ping")].map(|(says, hears)| Side::start(&server, says, hears));
    let is_over = AtomicBool::new(false);
    let (go_on, gate) = mpsc::channel::<()>();
    // A handler of another topic that blocks until the next restart.
    let gate = Mutex::new(gate);
    sides[1].topics.register("blocked", move |text| {
        if text == "block" {
            let gate = gate.lock().unwrap();
            gate.recv_timeout(PATIENCE).expect("the server is restarted");
        }
    });
    settle(&sides[1].bridge);
    for side in &sides {
        side.say_until_heard(&sides);
    }
    sides[0].send("blocked", "free");

    let start = Instant::now();
    thread::scope(|scope| {
        for side in &sides {
            scope.spawn(|| side.flap(&is_over));
            scope.spawn(|| side.talk(time));
        }
        while start.elapsed() < time {
            sides[0].send("blocked", "block");
            let second = Instant::now() + Duration::from_secs(1);
            thread::sleep(second.saturating_duration_since(Instant::now()));
            server.restart();
            go_on.send(()).expect("it is there");
        }
        is_over.store(true, Ordering::Relaxed);
    });
    // Some block that waited for more restarts than there were.
    (0..time.as_secs()).for_each(|_| go_on.send(()).expect("it is there"));
    for side in &sides {
        let _ = wait(side.bridge.settled(PATIENCE));
        settle(&side.bridge);
    }
    sides[0].send("blocked", "free");
    for side in &sides {
        side.say_until_heard(&sides);
    }
    for (side, other) in [(&sides[0], &sides[1]), (&sides[1], &sides[0])] {
        let (here, there) = (side.bridge.counts(), other.bridge.counts());
        say(&format!("storm of {time:?}: {here:?}"));
        assert_eq!(here.sent + here.dropped, side.tried.load(Ordering::Relaxed));
        assert_eq!(
            there.received + there.missed,
            here.sent,
            "{here:?} {there:?}"
        );
        assert_eq!(side.disordered.load(Ordering::Relaxed), 0);
        assert!(
            here.sent > MESSAGES / 2 && there.missed > 0,
            "{here:?} {there:?}"
        );
    }
    // Nothing is left of the topics that flapped.
    let mut subjects = server.subscriptions();
    subjects.sort();
    assert_eq!(subjects, ["blocked", "ping", "pong"]);
}

/// A process, so to speak.
struct Side {
    topics: Topics,
    bridge: TextBridge,
    says: &'static str,
    /// The next number to say.
    next: AtomicU64,
    tried: AtomicU64,
    /// The next number to hear, at least.
    due: Arc<AtomicU64>,
    disordered: Arc<AtomicU64>,
}

impl Side {
    fn start(server: &Server, says: &'static str, hears: &str) -> Self {
        let topics = Topics::new();
        let (due, disordered) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (own, wrong) = (Arc::clone(&due), Arc::clone(&disordered));
        topics.register(hears, move |text| {
            let number: u64 = text.parse().expect("a number");
            let due = own.swap(number + 1, Ordering::Relaxed);
            wrong.fetch_add(u64::from(number < due), Ordering::Relaxed);
        });
        let bridge = connect(server, &topics);
        settle(&bridge);
        let (next, tried) = (AtomicU64::new(0), AtomicU64::new(0));
        Self {
            topics,
            bridge,
            says,
            next,
            tried,
            due,
            disordered,
        }
    }

    fn send(&self, key: &str, text: &str) {
        let remote = self.bridge.send(&key.into(), text).expect("it is short");
        assert_ne!(remote, Remote::Refused);
        self.tried.fetch_add(1, Ordering::Relaxed);
    }

    fn say(&self) -> u64 {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.send(self.says, &number.to_string());
        number
    }

    /// Says all numbers, evenly.
    fn talk(&self, time: Duration) {
        let start = Instant::now();
        for number in 0..MESSAGES {
            self.say();
            let due = time.mul_f64(f64::from(u32::try_from(number).expect("few")) / 10_000.0);
            thread::sleep(due.saturating_sub(start.elapsed()));
        }
    }

    fn say_until_heard(&self, sides: &[Self; 2]) {
        let other = sides.iter().find(|other| other.says != self.says).expect("two");
        wait_for("a number to be heard", || {
            let number = self.say();
            settle(&self.bridge);
            settle(&other.bridge);
            let patience = Instant::now() + Duration::from_millis(500);
            while other.due.load(Ordering::Relaxed) <= number && Instant::now() < patience {
                thread::sleep(Duration::from_millis(1));
            }
            other.due.load(Ordering::Relaxed) > number
        });
    }

    /// Topics that come and go.
    fn flap(&self, is_over: &AtomicBool) {
        while !is_over.load(Ordering::Relaxed) {
            let flap = |key: u32| self.topics.register_guard(format!("flap.{key}"), |_| {});
            let guards: Vec<_> = (0..20).map(flap).collect();
            thread::sleep(Duration::from_millis(1));
            drop(guards);
        }
    }
}
