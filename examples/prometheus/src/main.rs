//! Metrics: exports the topics, handlers and panics of a registry to Prometheus, and scrapes itself
//! once.
//!
//! ```text
//! cargo run -p prometheus                      # on a free port of this machine
//! cargo run -p prometheus -- 127.0.0.1:9100
//! ```

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::ExitCode;
use std::time::Duration;
use std::{env, io, panic};

use metrics_exporter_prometheus::PrometheusBuilder;
use topic_registry::TopicRegistry;

const PATIENCE: Duration = Duration::from_secs(5);

/// The lines that the page must contain when everything below has happened.
const EXPECTED: [&str; 4] = [
    r#"topic_registry_topics{registry="bus"} 2"#,
    r#"topic_registry_handlers{registry="bus"} 4"#,
    r#"topic_registry_panics_total{registry="bus"} 1"#,
    "orders_total 2",
];

/// Uses some topics, and returns them to keep them alive.
fn use_topics() -> TopicRegistry<String, u32> {
    // The name is the label of its metrics.
    let topics = TopicRegistry::<String, u32>::builder().name("bus").build();
    topics.register("orders", |count| {
        assert_ne!(*count, 0, "an order of nothing");
    });
    topics.register("orders", |count| println!("an order of {count}"));
    topics.register("users", |user| println!("user {user} is there"));
    // Notifications are not counted, because counting them would cost time. If you need a count,
    // register a handler for it.
    topics.register_with_priority("orders", i32::MIN, |_| {
        metrics::counter!("orders_total").increment(1);
    });
    drop(topics.register_guard("gone", |_| {}));
    for count in [3, 0] {
        topics.notify("orders", &count);
    }
    topics
}

fn serve(address: SocketAddr) -> Result<(), Box<dyn Error>> {
    // Before the topics are built: they keep the metric handles that the recorder returns then.
    PrometheusBuilder::new()
        .with_http_listener(address)
        .install()
        .map_err(|error| format!("cannot serve {address}: {error}"))?;
    let topics = use_topics();

    println!("scraping {address}:");
    let agent = ureq::Agent::config_builder().timeout_global(Some(PATIENCE));
    let agent = agent.build().new_agent();
    let mut response = agent.get(format!("http://{address}/metrics")).call()?;
    let page = response.body_mut().read_to_string()?;
    for line in page.lines().filter(|line| !line.is_empty()) {
        println!("  {line}");
    }
    drop(topics);
    let missing = EXPECTED.iter().find(|line| !page.lines().any(|other| other == **line));
    missing.map_or(
        Ok(()),
        |line| Err(format!("the page lacks {line:?}").into()),
    )
}

/// Returns an address whose port is free, at least until another program takes it.
fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

fn main() -> ExitCode {
    // Panics are counted instead.
    panic::set_hook(Box::new(|_| {}));
    let arguments: Vec<_> = env::args().skip(1).collect();
    let (outcome, status) = match arguments.as_slice() {
        [] => (free_address().map_err(Into::into).and_then(serve), 1),
        [given] => {
            let bad = |_| format!("{given:?} is no address such as 127.0.0.1:9100").into();
            (given.parse().map_err(bad).and_then(serve), 2)
        }
        _ => (Err("usage: prometheus [ADDRESS:PORT]".into()), 2),
    };
    let Err(why) = outcome else {
        return ExitCode::SUCCESS;
    };
    eprintln!("{why}");
    ExitCode::from(status)
}
