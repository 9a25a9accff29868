//! Measures what it costs to be looked at, with 10,000 topics of 10 handlers each.
//!
//! ```text
//! cargo run --release -p topic-registry-inspect --example cost
//! ```
//!
//! Needs Linux, whose kernel says how long a thread has run.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{fs, thread};

use topic_registry::TopicRegistry;
use topic_registry_inspect::Inspector;

type Topics = TopicRegistry<String, u64>;

const LOOKS: u32 = 20;
const EVERY: Duration = Duration::from_secs(1);

fn main() {
    let topics = Topics::builder().count_calls().build();
    for topic in 0..10_000 {
        for _ in 0..10 {
            topics.register(format!("topic.{topic:05}"), |_| {});
        }
    }
    let nobody = notify_while(&topics, || thread::sleep(EVERY * LOOKS / 4));
    println!("notified by key, nothing watches:   {nobody}");

    let guard = Inspector::new().watch("bus", &topics).serve("127.0.0.1:0");
    let guard = guard.expect("a port is free");
    let idle = notify_while(&topics, || thread::sleep(EVERY * LOOKS / 4));
    println!("watched, and not looked at:         {idle}");

    let listed = notify_while(&topics, || {
        for _ in 0..LOOKS {
            drop(topics.topics());
            thread::sleep(EVERY);
        }
    });
    println!("beside `topics()` once a second:    {listed}");

    // As a page does, which compares with the time at which it was opened.
    let answer = look(guard.address(), "new");
    let since = answer.split_once("\"since\":").expect("it says").1;
    let since = since.split(',').next().expect("it says");
    let (before, mut bytes, start) = (inspector_time(), 0, Instant::now());
    let looked = notify_while(&topics, || {
        for _ in 0..LOOKS {
            bytes = look(guard.address(), since).len();
            thread::sleep(EVERY);
        }
    });
    let used = inspector_time().saturating_sub(before);
    println!("looked at once a second:            {looked}");
    let share = used.as_secs_f64() / start.elapsed().as_secs_f64() * 100.0;
    println!(
        "its threads took {:?} for each look of {bytes} bytes: {share:.2} % of a core",
        used / LOOKS
    );
}

/// Notifies topics by key while `f` runs, now and then. Returns how long the calls took.
fn notify_while(topics: &Topics, f: impl FnOnce()) -> String {
    let is_over = AtomicBool::new(false);
    let mut times = thread::scope(|scope| {
        let notifies = scope.spawn(|| {
            let (mut times, mut number) = (Vec::new(), 0u64);
            while !is_over.load(Ordering::Relaxed) {
                number = number.wrapping_add(7919);
                let key = format!("topic.{:05}", number % 10_000);
                let start = Instant::now();
                topics.notify(&key, &number);
                times.push(start.elapsed());
                if number % 64 == 0 {
                    thread::sleep(Duration::from_micros(50));
                }
            }
            times
        });
        f();
        is_over.store(true, Ordering::Relaxed);
        notifies.join().expect("it ends")
    });
    times.sort_unstable();
    let at = |part: usize| times[(times.len() - 1) * part / 10_000];
    let [half, most, longest] = [5_000, 9_999, 10_000].map(at);
    format!("{half:?} in the middle, 99.99 % within {most:?}, the longest {longest:?}")
}

/// Asks as the page does. Returns the answer.
fn look(address: SocketAddr, since: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    let path = format!("/topics.json?since={since}&limit=200");
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it listens");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    assert!(answer.starts_with("HTTP/1.1 200"));
    answer
}

/// Returns how long the threads of the inspector have run.
fn inspector_time() -> Duration {
    let tasks = fs::read_dir("/proc/self/task").expect("this is Linux");
    let nanos = tasks.flatten().filter_map(|task| {
        let read = |name| fs::read_to_string(task.path().join(name)).ok();
        let is_it = read("comm")?.starts_with("topic-registry-");
        let time: u64 = read("schedstat")?.split(' ').next()?.parse().ok()?;
        is_it.then_some(time)
    });
    Duration::from_nanos(nanos.sum())
}
