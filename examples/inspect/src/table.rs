//! The document as a table for a terminal.

use topic_registry_inspect::json::{Counts, Document, Group, Kind, Report, State, Sum};
use unicode_width::UnicodeWidthChar;

/// The widest text of a column, in characters of a terminal.
const WIDEST: usize = 60;
/// How many places and reports are printed at most.
const MOST: usize = 10;

/// Returns the document as lines of text.
pub(crate) fn of(document: &Document) -> String {
    let mut text = format!("{}, process {}\n", safe(&document.program), document.pid);
    let Counts {
        unheard,
        panicked,
        grown,
        ..
    } = document.counts;
    let counts = format!("unheard topics: {unheard}, grown: {grown}, with panics: {panicked}");
    text += &(counts + "\n\n");
    text += &registries(document);
    text += &places(document);
    text += &topics(document);
    text += &reports(document);
    text
}

/// Returns text without what a terminal would do instead of showing it.
pub(crate) fn safe(text: &str) -> String {
    let escape = |c: char| match c {
        c if c.is_control() || is_invisible(c) => c.escape_unicode().to_string(),
        c => c.to_string(),
    };
    text.chars().map(escape).collect()
}

/// Whether it changes the direction of text, or hides.
fn is_invisible(c: char) -> bool {
    let ranges = [
        '\u{ad}'..='\u{ad}',
        '\u{61c}'..='\u{61c}',
        '\u{180e}'..='\u{180e}',
        '\u{200b}'..='\u{200f}',
        '\u{2028}'..='\u{202e}',
        '\u{2060}'..='\u{206f}',
        '\u{feff}'..='\u{feff}',
        '\u{fff9}'..='\u{fffb}',
        '\u{e0000}'..='\u{e007f}',
    ];
    ranges.iter().any(|range| range.contains(&c))
}

fn registries(document: &Document) -> String {
    let mut rows = vec![heads("REGISTRY", &["TOPICS", "HANDLES", "PANICS"])];
    for registry in &document.registries {
        let name = match registry.state {
            State::Live => registry.name.clone(),
            State::Dropped => format!("{} (dropped)", registry.name),
            _ => format!("{} (cannot be read)", registry.name),
        };
        let more = [
            registry.topics.to_string(),
            registry.handles.to_string(),
            registry.panics.to_string(),
        ];
        rows.push(row(name, &registry.sum, more));
    }
    aligned(&rows) + "\n"
}

fn places(document: &Document) -> String {
    let mut rows = vec![heads("PLACE", &["TOPICS"])];
    for place in document.places.iter().take(MOST) {
        rows.push(row(title(place), &place.sum, [place.topics.to_string()]));
    }
    let more = document.places_found.saturating_sub(rows.len() - 1);
    aligned(&rows) + &rest(more, "places")
}

fn topics(document: &Document) -> String {
    let mut rows = vec![heads("TOPIC", &["HANDLES", "PANICS"])];
    let is_one = document.registries.len() == 1;
    for topic in &document.topics {
        let registry = if is_one {
            String::new()
        } else {
            format!("{}: ", topic.registry)
        };
        let key = if topic.key.is_empty() {
            "(no key)"
        } else {
            &topic.key
        };
        let unheard = if topic.unheard { " (unheard)" } else { "" };
        let more = [topic.handles.to_string(), topic.panics.to_string()];
        rows.push(row(format!("{registry}{key}{unheard}"), &topic.sum, more));
    }
    let more = document.found.saturating_sub(document.topics.len());
    aligned(&rows) + &rest(more, "topics")
}

fn reports(document: &Document) -> String {
    let line = |report: &Report| {
        let what = match report.kind {
            Kind::Panic => "panic",
            _ => "slow call",
        };
        let took = report.nanos.map(|nanos| format!("took {}", time(nanos)));
        let text = report.message.clone().or(took).unwrap_or_default();
        let times = if report.times > 1 {
            format!(" x{}", report.times)
        } else {
            String::new()
        };
        let Report {
            registry,
            key,
            place,
            ..
        } = report;
        safe(&format!(
            "{what}{times}: {registry}: {key}: {text} ({place})"
        )) + "\n"
    };
    document.reports.iter().take(MOST).map(line).collect()
}

fn title(group: &Group) -> String {
    let place = group.place.as_deref().unwrap_or("several places");
    title_of(place, group.name.as_deref())
}

fn title_of(place: &str, name: Option<&str>) -> String {
    let most = WIDEST - 1;
    let Some(name) = name else {
        return end_of(place, most);
    };
    let room = most.saturating_sub(fit(name).1 + " ()".len());
    format!("{name} ({})", end_of(place, room))
}

/// Returns the end of a place that is too long: its file and line.
fn end_of(place: &str, most: usize) -> String {
    let count = place.chars().count();
    if count <= most {
        return place.into();
    }
    let end = place.chars().skip((count + 1).saturating_sub(most));
    ['…'].into_iter().chain(end).collect()
}

fn rest(count: usize, what: &str) -> String {
    if count == 0 {
        "\n".into()
    } else {
        format!("... and {count} more {what}\n\n")
    }
}

fn heads(first: &str, more: &[&str]) -> Vec<String> {
    let sums = ["HANDLERS", "GROWN", "CALLS/S", "CALLS", "MEAN", "LONGEST"];
    let all = [first].into_iter().chain(sums).chain(more.iter().copied());
    all.map(str::to_owned).collect()
}

fn row<const N: usize>(first: String, sum: &Sum, more: [String; N]) -> Vec<String> {
    let none = || "-".to_owned();
    let grown = sum.grown.map_or_else(none, |grown| format!("{grown:+}"));
    let paused = sum.paused;
    let handlers = match paused {
        0 => sum.handlers.to_string(),
        _ => format!("{} ({paused} paused)", sum.handlers),
    };
    let calls = sum.calls.as_ref();
    let rate = calls.and_then(|calls| calls.per_second);
    let sums = [
        handlers,
        grown,
        rate.map_or_else(none, |rate| rate.to_string()),
        calls.map_or_else(none, |calls| calls.count.to_string()),
        calls.and_then(|calls| calls.mean_nanos).map_or_else(none, time),
        calls
            .filter(|calls| calls.count > 0)
            .map_or_else(none, |calls| time(calls.longest_nanos)),
    ];
    [first].into_iter().chain(sums).chain(more).collect()
}

fn time(nanos: u64) -> String {
    let (unit, name) = match nanos {
        0..1_000 => return format!("{nanos}ns"),
        1_000..1_000_000 => (1_000, "µs"),
        1_000_000..1_000_000_000 => (1_000_000, "ms"),
        _ => (1_000_000_000, "s"),
    };
    format!("{}.{}{name}", nanos / unit, nanos % unit * 10 / unit)
}

/// Returns lines in which the columns are aligned: the first to the left, the numbers to the right.
fn aligned(rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<_>> =
        rows.iter().map(|row| row.iter().map(|text| fit(text)).collect()).collect();
    let columns = rows.first().map_or(0, Vec::len);
    let widest = |column: usize| rows.iter().map(|row| row[column].1).max().unwrap_or(0);
    let widths: Vec<_> = (0..columns).map(widest).collect();
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (at, ((cell, width), widest)) in row.iter().zip(&widths).enumerate() {
            let space = " ".repeat(widest - width);
            let parts: [&str; 3] = if at == 0 {
                [cell, &space, ""]
            } else {
                ["  ", &space, cell]
            };
            line.extend(parts);
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

/// Returns text that fits into a column, and its width.
fn fit(text: &str) -> (String, usize) {
    let (mut fitting, mut width) = (String::new(), 0);
    for c in safe(text).chars() {
        let more = c.width().unwrap_or(0);
        if width + more >= WIDEST {
            return (fitting + "…", width + 1);
        }
        fitting.push(c);
        width += more;
    }
    (fitting, width)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_whatever_is_in_them() {
        let rows = [["KEY", "N"], ["short", "7"], ["日本", "1000"]];
        let rows = rows.map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(aligned(&rows), "KEY       N\nshort     7\n日本   1000\n");
    }

    #[test]
    fn no_text_controls_the_terminal() {
        let text = safe("a\x1b[2J\r\n\u{9b}1m\u{202e}\u{61c}\u{e0041}b");
        assert_eq!(
            text,
            r"a\u{1b}[2J\u{d}\u{a}\u{9b}1m\u{202e}\u{61c}\u{e0041}b"
        );
    }

    #[test]
    fn times_have_a_unit_that_fits() {
        let times = [0, 999, 1_050, 12_345_678, 61_000_000_000].map(time);
        assert_eq!(times, ["0ns", "999ns", "1.0µs", "12.3ms", "61.0s"]);
    }

    #[test]
    fn a_long_place_shows_its_line() {
        let place = format!("{}/src/lib.rs:12:5", "x".repeat(100));
        let text = end_of(&place, WIDEST - 1);
        assert_eq!(fit(&text).0, text, "it fits");
        assert!(
            text.starts_with("…x") && text.ends_with("x/src/lib.rs:12:5"),
            "{text}"
        );
        let text = title_of("several places", Some("name"));
        assert_eq!(text, "name (several places)");
        let text = title_of(&place, Some("name"));
        assert_eq!(fit(&text).0, text, "it fits");
        assert!(text.ends_with("/src/lib.rs:12:5)"), "{text}");
    }

    #[test]
    fn long_text_is_cut() {
        let (text, width) = fit(&"x".repeat(1000));
        assert_eq!((text.chars().count(), width), (WIDEST, WIDEST));
    }
}
