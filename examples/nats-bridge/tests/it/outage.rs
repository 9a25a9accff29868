//! The server goes away and comes back: handlers here hear all along, those elsewhere soon again,
//! and what they did not hear is counted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use std::{env, thread};

use topic_registry::HandlerGuard;
use topic_registry_nats::async_nats::Event as ClientEvent;
use topic_registry_nats::{Event, Remote};

use crate::support::{
    PATIENCE, Peer, Server, TextBridge, Topics, connect, connect_with, say, settle, wait, wait_for,
};

/// How often it goes, unless the environment says otherwise.
const OUTAGES: u32 = 2;

#[test]
fn local_delivery_goes_on_and_the_bridge_is_back_soon_and_counters_agree() {
    let Some(mut server) = Server::start() else {
        return;
    };
    let outages = env::var("OUTAGES").map_or(OUTAGES, |text| text.parse().expect("a number"));
    let topics = Topics::new();
    let mut talk = Talk::new(connect(&server, &topics), &topics);
    settle(&talk.bridge);
    let peer = Peer::start(&server.url());
    talk.ask_until_answered();

    let mut size = None;
    for outage in 1..=outages {
        // Under load when it goes, while it is away, and when it comes.
        talk.ask_for(Duration::from_millis(300));
        server.stop();
        let dropped = talk.bridge.counts().dropped;
        wait_for("the queue to be full", || {
            talk.ask();
            talk.bridge.counts().dropped > dropped
        });
        let restarting = thread::spawn(move || {
            server.restart();
            (server, Instant::now())
        });
        while !restarting.is_finished() {
            talk.ask();
        }
        let (restarted, since) = restarting.join().expect("it restarts");
        server = restarted;
        talk.ask_until_answered();
        let resumed = since.elapsed();
        let pause = talk.longest;
        say(&format!(
            "outage {outage}: back {resumed:?} after the server, longest local delivery {pause:?}"
        ));
        #[cfg(target_os = "linux")]
        {
            // The first outage makes what the others use again.
            let now = (peer.status("Threads"), peer.status("VmRSS"));
            let (threads, kilobytes) = *size.get_or_insert(now);
            assert_eq!(now.0, threads, "threads of the other process");
            assert!(
                now.1 < kilobytes + 4096,
                "{} kB, then {} kB",
                kilobytes,
                now.1
            );
            say(&format!(
                "outage {outage}: {} threads, {} kB there",
                now.0, now.1
            ));
        }
    }

    // The last ones of both show what is missing before them.
    talk.ask_until_answered();
    // The first call says that the outages may have lost some.
    wait(talk.bridge.settled(PATIENCE)).expect_err("there were outages");
    settle(&talk.bridge);
    let here = talk.bridge.counts();
    let report = peer.end();
    let there = |name| report.number(name);
    let connects = u64::from(outages) + 1;
    say(&format!(
        "outages: {} asked; here {here:?}; there {report:?}",
        talk.asked
    ));
    assert_eq!(talk.own.load(Ordering::Relaxed), talk.asked);
    assert_eq!(here.sent + here.dropped, talk.asked);
    assert_eq!(there("heard"), there("received"));
    assert_eq!(there("received") + there("missed"), here.sent);
    assert_eq!(there("sent") + there("dropped"), there("received"));
    assert_eq!(there("disordered"), 0);
    wait_for("the answers that were given", || {
        let here = talk.bridge.counts();
        here.received + here.missed == there("sent")
    });
    assert!(here.dropped > 0);
    assert_eq!((here.connects, there("connects")), (connects, connects));
}

#[test]
fn what_is_published_while_the_server_is_away_waits_or_is_dropped() {
    const QUEUE: usize = 10;
    let Some(mut server) = Server::start() else {
        return;
    };
    let (here, there) = (Topics::new(), Topics::new());
    let sender = connect_with(&server, &here, |options| options.queue_capacity = QUEUE);
    let receiver = connect(&server, &there);
    let events = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&events);
    sender.events().register(move |event| told.lock().unwrap().push(event.clone()));
    settle(&sender);
    let publish = |number: usize| {
        // If it were passed on to the client, there would be time for that.
        thread::sleep(Duration::from_millis(5));
        let published = sender.publish("news", &number.to_string());
        published.expect("it can be sent")
    };

    server.stop();
    wait_for("the bridge to notice", || {
        events.lock().unwrap().contains(&Event::Client(ClientEvent::Disconnected))
    });
    // One may have been waited for when the connection broke.
    let remotes: Vec<_> = (0..2 * QUEUE).map(publish).collect();
    let queued = remotes.iter().take_while(|it| **it == Remote::Queued).count();
    assert!((QUEUE..QUEUE + 2).contains(&queued), "{remotes:?}");
    assert!(
        remotes[queued..].iter().all(|it| *it == Remote::Dropped),
        "{remotes:?}"
    );
    let dropped = u64::try_from(2 * QUEUE - queued).expect("few");
    assert_eq!(sender.counts().dropped, dropped);
    wait(sender.settled(Duration::from_millis(50))).expect_err("nobody is there");

    let (next, heard) = mpsc::channel();
    there.register("news", move |text| {
        next.send(text.to_owned()).expect("it is waited for");
    });
    server.restart();
    settle(&receiver);
    // What was queued may have been sent before the other was back.
    settle(&sender);
    assert_eq!(sender.counts().sent, u64::try_from(queued).expect("few"));
    assert_eq!(publish(2 * QUEUE), Remote::Sent);
    let mut last: Option<usize> = None;
    while last.is_none_or(|last| last < 2 * QUEUE) {
        let hung = |why| panic!("waited {PATIENCE:?} for the last message: {why}");
        let text = heard.recv_timeout(PATIENCE).unwrap_or_else(hung);
        let number = text.parse().expect("a number");
        assert!(
            last.is_none_or(|last| last < number),
            "{number} after {last:?}"
        );
        last = Some(number);
    }
    assert!(events.lock().unwrap().contains(&Event::Client(ClientEvent::Connected)));
    assert_eq!(sender.counts().connects, 2);
}

/// Questions to the other process, which are numbers, and its answers.
struct Talk {
    bridge: TextBridge,
    asked: u64,
    own: Arc<AtomicU64>,
    /// The longest that a question has taken here.
    longest: Duration,
    answers: Receiver<u64>,
    _guards: [HandlerGuard; 2],
}

impl Talk {
    fn new(bridge: TextBridge, topics: &Topics) -> Self {
        let own = Arc::new(AtomicU64::new(0));
        let heard = Arc::clone(&own);
        let (answer, answers) = mpsc::channel();
        let guards = [
            topics.register_guard("ping", move |_| {
                heard.fetch_add(1, Ordering::Relaxed);
            }),
            topics.register_guard("pong", move |text| {
                let number = text.parse().expect("a number");
                answer.send(number).expect("it is waited for");
            }),
        ];
        Self {
            bridge,
            asked: 0,
            own,
            longest: Duration::ZERO,
            answers,
            _guards: guards,
        }
    }

    fn ask(&mut self) {
        let start = Instant::now();
        let published = self.bridge.publish("ping", &self.asked.to_string());
        self.longest = self.longest.max(start.elapsed());
        let _ = published.expect("it can be sent");
        self.asked += 1;
        thread::sleep(Duration::from_micros(500));
    }

    fn ask_for(&mut self, time: Duration) {
        let start = Instant::now();
        while start.elapsed() < time {
            self.ask();
        }
    }

    /// Asks until a question that is asked from now on is answered.
    fn ask_until_answered(&mut self) {
        let first = self.asked;
        wait_for("an answer", || {
            self.ask();
            self.answers.try_iter().any(|answer| answer >= first)
        });
    }
}
