//! Metrics: exports the topics, handlers and panics of a registry to Prometheus, and scrapes itself
//! once.
//!
//! ```text
//! cargo run -p prometheus                      # on a free port of this machine
//! cargo run -p prometheus -- 127.0.0.1:9100
//! ```

use std::error::Error;
use std::io::{self, ErrorKind, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::ExitCode;
use std::time::Duration;
use std::{env, panic};

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
    topics.register("orders", |count| {
        // If nobody reads it, the next line of `serve` ends the program.
        let _ = say(&format!("an order of {count}"));
    });
    topics.register("users", |user| {
        let _ = say(&format!("user {user} is there"));
    });
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

    say(&format!("scraping {address}:"))?;
    let agent = ureq::Agent::config_builder().timeout_global(Some(PATIENCE));
    // This machine itself is asked, not a proxy that the environment names.
    let agent = agent.proxy(None);
    let agent = agent.build().new_agent();
    let mut response = agent.get(format!("http://{address}/metrics")).call()?;
    let page = response.body_mut().read_to_string()?;
    for line in page.lines().filter(|line| !line.is_empty()) {
        say(&format!("  {line}"))?;
    }
    drop(topics);
    let missing = EXPECTED.iter().find(|line| !page.lines().any(|other| other == **line));
    missing.map_or(
        Ok(()),
        |line| Err(format!("the page lacks {line:?}").into()),
    )
}

/// Returns the address, with a port that is free if it has none: at least until another program
/// takes it.
fn with_port(address: SocketAddr) -> Result<SocketAddr, Box<dyn Error>> {
    if address.port() != 0 {
        return Ok(address);
    }
    let listener = TcpListener::bind(address);
    let listener = listener.map_err(|error| format!("cannot serve {address}: {error}"))?;
    Ok(listener.local_addr()?)
}

/// Prints a line.
fn say(line: &str) -> io::Result<()> {
    writeln!(io::stdout(), "{line}")
}

fn main() -> ExitCode {
    // Panics are counted instead.
    panic::set_hook(Box::new(|_| {}));
    let arguments: Vec<_> = env::args().skip(1).collect();
    let (outcome, status) = match arguments.as_slice() {
        [] => (
            with_port((Ipv4Addr::LOCALHOST, 0).into()).and_then(serve),
            1,
        ),
        [given] => {
            let bad = |_| format!("{given:?} is no address such as 127.0.0.1:9100").into();
            (
                given.parse().map_err(bad).and_then(with_port).and_then(serve),
                2,
            )
        }
        _ => (Err("usage: prometheus [ADDRESS:PORT]".into()), 2),
    };
    let Err(why) = outcome else {
        return ExitCode::SUCCESS;
    };
    // If nobody reads the output any more, there is nobody to tell.
    if why
        .downcast_ref::<io::Error>()
        .is_some_and(|why| why.kind() == ErrorKind::BrokenPipe)
    {
        return ExitCode::FAILURE;
    }
    let _ = writeln!(io::stderr(), "{why}");
    ExitCode::from(status)
}
