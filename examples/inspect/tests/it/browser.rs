//! The page in a real browser: Chromium, driven by `chromedriver`.

use std::env;
use std::future::Future;
use std::io::{BufRead, BufReader, ErrorKind};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fantoccini::wd::{Capabilities, WebDriverCompatibleCommand};
use fantoccini::{Client, ClientBuilder};
use serde_json::{Value, json};
use topic_registry_inspect::{Inspector, InspectorGuard, Reports};

use crate::support::{PATIENCE, Topics, serve, serve_all};

/// The page shows a change within this time.
const SOON: Duration = Duration::from_secs(2);

/// A driver that ends with its test.
struct Driver(Child, String);

impl Driver {
    /// Starts one, unless none is installed, which it must be where everything is checked.
    fn start() -> Option<Self> {
        let mut command = Command::new("chromedriver");
        command.args(["--port=0", "--log-level=SEVERE"]).stdout(Stdio::piped());
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(why) if why.kind() == ErrorKind::NotFound && env::var_os("CI").is_none() => {
                println!("skipped: there is no chromedriver on the PATH");
                return None;
            }
            Err(why) => panic!("chromedriver: {why}"),
        };
        let lines = BufReader::new(child.stdout.take().expect("it is a pipe")).lines();
        let port = |line: String| {
            let (_, port) = line.split_once("started successfully on port ")?;
            port.trim_end_matches('.').parse::<u16>().ok()
        };
        let port = lines.map_while(Result::ok).find_map(port).expect("it says its port");
        Some(Self(child, format!("http://127.0.0.1:{port}")))
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A page in a browser.
#[derive(Clone)]
struct Page(Client);

/// Opens the page, and runs a test with it. In the end, the console must hold nothing.
fn browse<T>(guard: &InspectorGuard, test: impl FnOnce(Page) -> T)
where
    T: Future<Output = ()> + Send + 'static,
{
    if let Some(console) = visit(&guard.url(), test) {
        assert_eq!(console, json!([]));
    }
}

/// Opens the page, and runs a test with it. Returns what the console holds in the end.
fn visit<T>(url: &str, test: impl FnOnce(Page) -> T) -> Option<Value>
where
    T: Future<Output = ()> + Send + 'static,
{
    let driver = Driver::start()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.expect("it starts").block_on(async {
        let mut builder =
            ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new());
        builder.capabilities(capabilities());
        let client = builder.connect(&driver.1).await.expect("the browser starts");
        let page = Page(client.clone());
        page.0.goto(url).await.expect("it is served");
        let tested = tokio::spawn(tokio::time::timeout(PATIENCE, test(page.clone()))).await;
        let console = page.0.issue_cmd(ConsoleLog).await;
        // Otherwise, the browser would go on after the test.
        client.close().await.expect("the browser ends");
        match tested {
            Ok(outcome) => outcome.expect("the test hangs"),
            Err(why) => std::panic::resume_unwind(why.into_panic()),
        }
        Some(console.expect("it has one"))
    })
}

fn capabilities() -> Capabilities {
    let options = json!({
        "goog:chromeOptions": {
            "args": ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                "--window-size=1200,900"],
        },
        "goog:loggingPrefs": {"browser": "ALL"},
    });
    let Value::Object(options) = options else {
        unreachable!("it is an object")
    };
    options
}

/// Asks for what the console has shown.
#[derive(Debug)]
struct ConsoleLog;

impl WebDriverCompatibleCommand for ConsoleLog {
    fn endpoint(
        &self,
        base: &url::Url,
        session: Option<&str>,
    ) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/se/log", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &url::Url) -> (http::Method, Option<String>) {
        (
            http::Method::POST,
            Some(json!({"type": "browser"}).to_string()),
        )
    }
}

impl Page {
    async fn eval(&self, script: &str) -> Value {
        let value = self.0.execute(&format!("return {script}"), Vec::new()).await;
        value.unwrap_or_else(|why| panic!("{script}: {why}"))
    }

    /// Waits until an expression is true.
    async fn until(&self, what: &str, script: &str) {
        let start = Instant::now();
        while self.eval(script).await != Value::Bool(true) {
            let text = self.eval("document.body.innerText").await;
            assert!(
                start.elapsed() < PATIENCE / 2,
                "waited for {what}: {script}\n{text}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn text(&self, selector: &str) -> String {
        let text = self.eval(&format!("document.querySelector({selector:?})?.innerText")).await;
        text.as_str().unwrap_or_default().to_owned()
    }

    async fn has(&self, what: &str, selector: &str, part: &str) {
        let all = format!("[...document.querySelectorAll({selector:?})]");
        self.until(
            what,
            &format!("{all}.some((it) => it.innerText.includes({part:?}))"),
        )
        .await;
    }

    async fn lacks(&self, what: &str, selector: &str, part: &str) {
        let all = format!("[...document.querySelectorAll({selector:?})]");
        self.until(
            what,
            &format!("!{all}.some((it) => it.innerText.includes({part:?}))"),
        )
        .await;
    }

    async fn click(&self, selector: &str) {
        let script = format!("(document.querySelector({selector:?}).click(), true)");
        self.eval(&script).await;
    }

    /// Types into what has the focus.
    async fn keys(&self, keys: &str) {
        let element = self.0.active_element().await.expect("there is one");
        element.send_keys(keys).await.expect("it takes keys");
    }
}

const KEYS: &str = "#topics .key";

#[test]
fn a_handler_that_comes_and_goes_is_shown_soon_by_its_place() {
    let topics = Topics::builder().count_calls().build();
    topics.register("old", |_| {});
    let guard = serve(&topics);
    browse(&guard, async move |page| {
        page.has("the topic", KEYS, "old").await;
        let start = Instant::now();
        let handlers = [0; 3].map(|_| topics.register_guard("new", |_| {}));
        page.has("the new topic", KEYS, "new").await;
        assert!(start.elapsed() < SOON, "shown after {:?}", start.elapsed());
        page.has("its growth", "#topics .grown", "▲ 3").await;
        page.has("its place", "#places .place", "browser.rs:").await;

        page.click("#topics tbody:nth-of-type(1) .open").await;
        page.has("its handlers", "#topics .details .place", "browser.rs:").await;
        topics.notify("new", "");
        page.has("the calls", "#topics .details .calls", "3").await;

        let start = Instant::now();
        drop(handlers);
        page.lacks("the topic to go", KEYS, "new").await;
        assert!(start.elapsed() < SOON, "gone after {:?}", start.elapsed());
    });
}

#[test]
fn a_panic_shows_its_message() {
    let reports = Reports::new();
    let topics = Topics::new();
    topics.on_panic(reports.on_panic());
    topics.register("bad", |text: &str| panic!("no {text}, <b>please</b>"));
    let inspector = Inspector::new().watch("bus", &topics).reports("bus", &reports);
    let guard = serve_all(inspector);
    browse(&guard, async move |page| {
        page.has("no panic", "#no-reports", "None").await;
        topics.notify("bad", "milk");
        page.has("the message", "#reports .message", "no milk, <b>please</b>").await;
        topics.notify("bad", "sugar");
        page.has("the next one", "#reports .message", "no sugar").await;
        page.has("how often", "#reports .note", "panic × 2").await;
        page.has("the count", "#panics", "2").await;
        page.click("[data-show=panicked]").await;
        page.has("the topic", KEYS, "bad").await;
    });
}

#[test]
fn a_key_that_is_markup_is_shown_and_does_nothing() {
    let topics = Topics::new();
    let reports = Reports::new();
    topics.on_panic(reports.on_panic());
    let key = "<img src=x onerror=\"window.hacked=1\"><script>window.hacked=1</script>";
    topics
        .options(key)
        .name("<i>name</i><img src=x onerror=window.hacked=1>")
        .register(|_| {
            panic!("<img src=x onerror=window.hacked=1>");
        });
    topics.notify(key, "");
    let inspector = Inspector::new().watch("<b>bus</b>", &topics);
    let inspector = inspector.watch("other", &Topics::new()).reports("<u>bus</u>", &reports);
    let guard = serve_all(inspector);
    browse(&guard, async move |page| {
        page.has("the key", KEYS, key).await;
        page.click("#topics .open").await;
        page.has("its handlers", "#topics .details .place", "<i>name</i>").await;
        page.click("[data-by=name]").await;
        page.has("the name", "#places .pick", "<i>name</i>").await;
        page.has("the message", "#reports .message", "<img").await;
        let made = "document.querySelectorAll('img, i, main b b, u, main script').length";
        assert_eq!(page.eval(made).await, json!(0));
        assert_eq!(page.eval("window.hacked === undefined").await, json!(true));
    });
}

#[test]
fn the_filter_finds_one_of_ten_thousand_topics() {
    let topics = Topics::new();
    for number in 0..10_000 {
        topics.register(format!("topic.{number:05}"), |_| {});
    }
    let guard = serve(&topics);
    browse(&guard, async move |page| {
        page.has("the topics", "#topics-count", "10,000").await;
        let shown = page.eval("document.querySelectorAll('#topics .open').length").await;
        assert_eq!(shown, json!(200), "only as many as can be looked at");
        page.keys("/").await;
        page.keys("TOPIC.07123").await;
        page.until(
            "one topic",
            "document.querySelectorAll('#topics .open').length === 1",
        )
        .await;
        assert_eq!(page.text(KEYS).await, "topic.07123");
        assert_eq!(
            page.eval("location.search").await,
            json!("?filter=TOPIC.07123")
        );
        // Through a reload, too.
        page.0.refresh().await.expect("it is served");
        page.has("the topic", KEYS, "topic.07123").await;
        page.keys("/\u{e00c}").await; // the escape key
        page.until(
            "all topics",
            "document.querySelectorAll('#topics .open').length === 200",
        )
        .await;
    });
}

#[test]
fn rows_are_updated_in_place_and_keep_the_focus() {
    let topics = Topics::builder().count_calls().build();
    for key in ["a", "b", "c"] {
        topics.register(key, |_| {});
    }
    let guard = serve(&topics);
    browse(&guard, async move |page| {
        page.has("the topics", KEYS, "c").await;
        page.click("#topics-head [data-sort=calls] button").await;
        page.until("the order", "location.search === '?sort=calls'").await;
        page.eval("(document.querySelectorAll('#topics .open')[2].focus(), true)").await;
        let marked =
            "[...document.querySelectorAll('#topics > tbody')].map((it) => it.old = 1).length";
        assert_eq!(page.eval(marked).await, json!(3));
        topics.notify("c", "");
        page.until(
            "the order",
            "document.querySelector('#topics .key').innerText === 'c'",
        )
        .await;
        let kept = "[...document.querySelectorAll('#topics > tbody')].every((it) => it.old === 1)";
        assert_eq!(page.eval(kept).await, json!(true), "rows were made anew");
        assert_eq!(
            page.eval("document.activeElement.innerText").await,
            json!("c")
        );
        page.keys("\u{e015}").await; // the key down
        assert_eq!(
            page.eval("document.activeElement.innerText").await,
            json!("a")
        );
        page.keys("\u{e007}").await; // the enter key
        page.has(
            "the handlers of it",
            "#topics .details .place",
            "browser.rs:",
        )
        .await;
    });
}

#[test]
fn unheard_topics_are_found_and_dropped_ones_are_said_to_be() {
    let topics = Topics::new();
    let handle = topics.handle("silent");
    topics.register("heard", |_| {});
    let guard = serve(&topics);
    browse(&guard, async move |page| {
        page.has("what is wrong with it", "#topics .note", "no handler").await;
        page.click("[data-show=unheard]").await;
        page.lacks("only that topic", KEYS, "heard").await;
        page.has("only that topic", KEYS, "silent").await;
        page.click("[data-show=all]").await;
        drop(handle);
        drop(topics);
        page.has("the end of the topics", "#registries", "dropped").await;
        page.has("the end of the topics", "#none", "no topics").await;
    });
}

#[test]
fn an_address_that_names_nothing_of_the_page_shows_all() {
    let topics = Topics::new();
    topics.register("a", |_| {});
    let guard = serve(&topics);
    let url = format!("{}/?toString=1&constructor=2&other=3", guard.url());
    let console = visit(&url, async move |page| {
        page.has("the topic", KEYS, "a").await;
        page.has("the state", "#status", "live").await;
    });
    assert!(console.is_none_or(|console| console == json!([])));
}

#[test]
fn the_topic_that_was_opened_last_is_shown_however_many_are_open() {
    let topics = Topics::new();
    for number in 0..102 {
        topics.register(format!("{number:03}"), |_| {});
    }
    let guard = serve(&topics);
    browse(&guard, async move |page| {
        page.has("the topics", KEYS, "101").await;
        page.eval("document.querySelectorAll('#topics .open').forEach((it) => it.click())")
            .await;
        let rows = "document.querySelectorAll('#topics .details tbody tr').length === 100";
        page.until("the handlers of a hundred", rows).await;
        let last = "[...document.querySelectorAll('#topics > tbody')].at(-1)";
        let shown = format!("{last}.querySelectorAll('.details tbody tr').length");
        assert_eq!(page.eval(&shown).await, json!(1));
        let all = "document.querySelectorAll('#topics .details').length";
        assert_eq!(page.eval(all).await, json!(100), "some are open and empty");
    });
}

#[test]
fn a_request_that_is_too_long_is_said_to_be_refused() {
    let guard = serve(&Topics::new());
    // The console holds the requests that failed.
    visit(&guard.url(), async move |page| {
        page.has("the state", "#status", "live").await;
        page.eval("ask({ filter: 'x'.repeat(20000) })").await;
        page.has("what is wrong", "#problem", "431").await;
        page.eval("ask({ filter: '' })").await;
        page.until("nothing wrong", "document.getElementById('problem').hidden").await;
    });
}

#[test]
fn a_page_whose_program_is_gone_says_so_and_comes_back() {
    let topics = Topics::new();
    topics.register("kept", |_| {});
    let guard = serve(&topics);
    let url = guard.url();
    // The console holds the requests that failed.
    visit(&url, async move |page| {
        page.has("the topic", KEYS, "kept").await;
        let address = guard.address();
        drop(guard);
        page.has("what is wrong", "#problem", "No answer since").await;
        page.has("the state", "#status", "no answer").await;
        page.has("the numbers of then", KEYS, "kept").await;
        let inspector = Inspector::new().watch("bus", &topics);
        let _again = inspector.serve(address).expect("its port is free");
        page.has("that it is back", "#status", "live").await;
        page.until("nothing wrong", "document.getElementById('problem').hidden").await;
    });
}
