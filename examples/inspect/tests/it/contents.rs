//! What the document says of topics.

use std::panic::Location;
use std::time::Duration;

use topic_registry_inspect::json::{Kind, VERSION};
use topic_registry_inspect::{Inspector, Reports};

use crate::support::{
    Topics, document, get, keys, later_document, registry, serve, serve_all, topic,
};

#[test]
fn a_topic_is_listed_with_its_handlers_by_place() {
    let topics = Topics::new();
    let here = |line| format!("{}:{line}:", Location::caller().file());
    for _ in 0..3 {
        topics.handle("a").options().priority(2).register(|_| {});
    }
    let line = line!() - 2;
    let id = topics.register("a", |_| {});
    let _paused = topics.handle("a").pause(id);
    let _handle = topics.handle("a");
    let guard = serve(&topics);

    let all = document(&guard, "");
    assert_eq!(
        (all.version, all.found, keys(&all)),
        (VERSION, 1, vec!["a"])
    );
    let listed = topic(&all, "a");
    assert_eq!(
        (listed.handles, listed.panics, listed.unheard),
        (1, 0, false)
    );
    assert_eq!((listed.sum.handlers, listed.sum.paused), (4, 1));
    assert_eq!(registry(&all, "bus").sum.handlers, 4);

    let opened = document(&guard, &format!("open={}", listed.id));
    let [open] = opened.open.as_slice() else {
        panic!("{opened:#?}")
    };
    let [large, small] = open.groups.as_slice() else {
        panic!("{open:#?}")
    };
    assert!(open.exists && open.groups_found == 2);
    let place = large.place.as_deref().expect("it is one place");
    assert!(place.starts_with(&here(line)), "{place}");
    assert_eq!(
        (
            large.sum.handlers,
            large.lowest_priority,
            large.highest_priority
        ),
        (3, 2, 2)
    );
    assert_eq!(
        (small.sum.handlers, small.sum.paused, small.highest_priority),
        (1, 1, 0)
    );
}

#[test]
fn the_place_with_the_most_handlers_comes_first_and_selects_its_topics() {
    let topics = Topics::new();
    for number in 0..20 {
        topics.register(format!("few.{}", number % 2), |_| {});
        topics.register(format!("leak.{}", number % 5), |_| {});
        topics.register(format!("leak.{}", number % 5), |_| {});
    }
    for _ in 0..100 {
        topics.register("leak.0", |_| {});
    }
    let guard = serve(&topics);
    let all = document(&guard, "sort=key");
    let sizes: Vec<_> = all.places.iter().map(|it| (it.sum.handlers, it.topics)).collect();
    assert_eq!(sizes, [(100, 1), (20, 2), (20, 5), (20, 5)]);
    let place = all.places[0].place.as_ref().expect("it is one place");
    let place = place.replace('/', "%2F").replace('\\', "%5C");
    let only = document(&guard, &format!("place={place}"));
    assert_eq!((only.counts.all, keys(&only)), (7, vec!["leak.0"]));
    assert_eq!(document(&guard, "place=nowhere").found, 0);
}

#[test]
fn growth_is_counted_from_the_moment_that_was_asked_for() {
    let topics = Topics::new();
    let mut guards: Vec<_> = (0..5).map(|_| topics.register_guard("shrinks", |_| {})).collect();
    topics.register("stays", |_| {});
    let guard = serve(&topics);
    assert_eq!(topic(&document(&guard, ""), "stays").sum.grown, None);
    let since = document(&guard, "since=new").since.expect("it was asked for");

    guards.truncate(2);
    for number in 0..3 {
        topics.register("grows", |_| {});
        topics.register(format!("new.{number}"), |_| {});
    }
    let query = format!("since={since}&sort=grown");
    let grown = later_document(&guard, &query);
    assert_eq!(grown.since, Some(since));
    let growth = |key| topic(&grown, key).sum.grown;
    assert_eq!(grown.topics[0].key, "grows");
    assert_eq!(
        ["grows", "new.1", "stays", "shrinks"].map(growth),
        [3, 1, 0, -3].map(Some)
    );
    assert_eq!(registry(&grown, "bus").sum.grown, Some(3));
    assert_eq!(grown.counts.grown, 4);
    let places: Vec<_> = grown.places.iter().map(|it| it.sum.grown).collect();
    assert_eq!(places, [3, 3, -3, 0].map(Some));
    let only = document(&guard, &format!("{query}&show=grown"));
    assert_eq!(keys(&only), ["grows", "new.0", "new.1", "new.2"]);

    let unknown = document(&guard, "since=12345");
    assert_eq!(unknown.since, Some(unknown.taken), "it begins anew");
}

#[test]
fn growth_by_name_counts_the_handlers_of_a_place_without_a_name() {
    let topics = Topics::new();
    for name in [Some("named"), Some("named"), None] {
        let handle = topics.handle("a");
        let options = handle.options();
        let options = match name {
            Some(name) => options.name(name),
            None => options,
        };
        options.register(|_| {});
    }
    let guard = serve(&topics);
    for (by, expected) in [
        ("by=name", vec![(2, Some(0)), (1, Some(0))]),
        ("", vec![(3, Some(0))]),
    ] {
        let all = document(&guard, &format!("since=new&{by}"));
        let grown: Vec<_> = all.places.iter().map(|it| (it.sum.handlers, it.sum.grown)).collect();
        assert_eq!(grown, expected, "{by}");
    }
}

#[test]
fn names_and_keys_that_begin_or_end_with_spaces_are_found() {
    let topics = Topics::new();
    topics.handle(" key").options().name(" name ").register(|_| {});
    let guard = serve_all(Inspector::new().watch(" bus", &topics));
    for (query, found) in [
        ("registry=%20bus", 1),
        ("by=name&place=%20name%20", 1),
        ("by=name&place=name", 0),
        ("filter=%20key", 1),
        ("filter=key%20", 0),
    ] {
        assert_eq!(document(&guard, query).found, found, "{query}");
    }
}

#[test]
fn many_who_compare_displace_only_those_who_did_so_longest_ago() {
    let topics = Topics::new();
    let guard = serve(&topics);
    let first = document(&guard, "since=new").since.expect("it was asked for");
    let second = later_document(&guard, "since=new").since.expect("it was asked for");
    assert_ne!(first, second);
    for _ in 0..7 {
        later_document(&guard, "since=new");
        let kept = document(&guard, &format!("since={second}"));
        assert_eq!(kept.since, Some(second));
    }
    let gone = later_document(&guard, &format!("since={first}"));
    assert_ne!(gone.since, Some(first), "it is kept without end");
}

#[test]
fn topics_that_nobody_hears_are_found() {
    let topics = Topics::new();
    let _handles = [topics.handle("no handler"), topics.handle("paused")];
    let id = topics.register("paused", |_| {});
    let _paused = topics.handle("paused").pause(id);
    topics.register("heard", |_| {});
    let guard = serve(&topics);
    let unheard = document(&guard, "show=unheard&sort=key");
    assert_eq!(keys(&unheard), ["no handler", "paused"]);
    assert_eq!((unheard.counts.unheard, unheard.counts.all), (2, 3));
    assert_eq!(topic(&unheard, "no handler").handles, 1);
}

#[test]
fn the_filter_finds_one_of_ten_thousand() {
    let topics = Topics::new();
    for number in 0..10_000 {
        topics.register(format!("Topic.{number:05}"), |_| {});
    }
    let guard = serve(&topics);
    let found = document(&guard, "filter=topic.07123");
    assert_eq!((found.found, keys(&found)), (1, vec!["Topic.07123"]));
    let page = document(&guard, "sort=key&order=desc&limit=3&offset=1");
    assert_eq!((page.found, page.counts.all), (10_000, 10_000));
    assert_eq!(keys(&page), ["Topic.09998", "Topic.09997", "Topic.09996"]);
    let last = document(&guard, "sort=key&limit=5&offset=9999");
    assert_eq!(keys(&last), ["Topic.09999"]);
    assert_eq!(document(&guard, "offset=10000").topics.len(), 0);
    assert_eq!(document(&guard, "").topics.len(), 200);
}

#[test]
fn panics_and_slow_calls_are_shown_with_their_messages() {
    let reports = Reports::new();
    let builder = Topics::builder().on_slow(Duration::ZERO, reports.on_slow());
    let topics = builder.build();
    topics.on_panic(reports.on_panic());
    topics.register("bad", |text: &str| panic!("no {text}, <b>please</b>"));
    for text in ["sugar", "milk"] {
        topics.notify("bad", text);
    }
    let inspector = Inspector::new().watch("bus", &topics).reports("bus", &reports);
    let guard = serve_all(inspector);
    let all = document(&guard, "show=panicked");
    assert_eq!((keys(&all), topic(&all, "bad").panics), (vec!["bad"], 2));
    let mut found = all.reports.clone();
    found.sort_by_key(|report| report.kind != Kind::SlowCall);
    let [slow, panic] = found.as_slice() else {
        panic!("{:#?}", all.reports)
    };
    assert_eq!((slow.kind, panic.kind), (Kind::SlowCall, Kind::Panic));
    assert_eq!(panic.message.as_deref(), Some("no milk, <b>please</b>"));
    assert_eq!(
        (panic.times, panic.key.as_str(), panic.registry.as_str()),
        (2, "bad", "bus")
    );
    assert!(panic.place.contains("contents.rs:"), "{}", panic.place);
    assert!(slow.nanos.is_some() && slow.times == 2);
    assert_eq!(document(&guard, "registry=other").reports.len(), 0);
}

#[test]
fn reports_are_bounded_and_one_that_repeats_displaces_none() {
    let reports = Reports::new();
    let topics = Topics::new();
    topics.on_panic(reports.on_panic());
    topics.register("first", |_| panic!("first"));
    topics.notify("first", "");
    for number in 0..150 {
        let key = format!("other.{number}");
        let _guard = topics.register_guard(key.clone(), |_| panic!("{}", "x".repeat(100_000)));
        topics.notify(&key, "");
        if number < 99 {
            // Otherwise, it would be the oldest.
            for _ in 0..3 {
                topics.notify("first", "");
            }
        }
    }
    let guard = serve_all(Inspector::new().reports("bus", &reports));
    let all = document(&guard, "");
    assert_eq!(all.reports.len(), 100);
    let first = all.reports.iter().find(|report| report.key == "first");
    assert_eq!(first.map(|first| first.times), Some(298));
    let longest = all.reports.iter().filter_map(|report| report.message.as_ref()?.len().into());
    assert!(longest.max() < Some(400));
}

#[test]
fn keys_are_text_whatever_is_in_them() {
    let topics = Topics::new();
    let hostile = "<img src=x onerror=alert(1)>\"\\\u{0}\u{202e}\u{1b}[2J";
    topics.register(hostile, |_| {});
    topics.register("k".repeat(1 << 20), |_| {});
    let guard = serve(&topics);
    let answer = get(guard.address(), "/topics.json?sort=key");
    assert!(answer.body.len() < 10_000, "a long key is shortened");
    let all = document(&guard, "sort=key");
    assert_eq!(all.topics[0].key, hostile);
    assert_eq!(all.topics[1].key.chars().count(), 301);
    let open = document(&guard, &format!("open={}", all.topics[1].id));
    assert!(open.open[0].exists, "it is found by its whole key");
}

#[test]
fn what_is_wrong_with_a_request_is_said_with_a_version() {
    let guard = serve(&Topics::new());
    let answer = get(guard.address(), "/topics.json?sort=color");
    assert_eq!(answer.status, 400);
    let error = r#"{"version":1,"error":"sort=\"color\" is none of handlers, "#;
    assert!(answer.body.starts_with(error), "{}", answer.body);
}
