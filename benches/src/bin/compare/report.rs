//! The tables: on the terminal, and in docs/PERFORMANCE.md between comments.

use std::path::PathBuf;
use std::{fs, thread};

use benches::cases::counted;
use benches::protocol::Curve;

use crate::Failed;
use crate::programs::Profile;
use crate::table::{Curves, Row, Spread, Summary};

const DOCUMENT: &str = "PERFORMANCE.md";

/// The marks around the tables.
const RATIOS: &str = "table";
const NANOSECONDS: &str = "nanoseconds";

/// The numbers of handlers in the table of nanoseconds.
const HANDLERS: [u32; 4] = [0, 1, 4, 16];

/// How many columns of the ratios are for the document, which has no targets.
const COLUMNS: usize = 6;

/// Lines of cells, the first of which is the head.
type Cells = Vec<Vec<String>>;

/// Returns where something in the directory of the documents is.
pub(crate) fn document(name: &str) -> PathBuf {
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs");
    PathBuf::from(docs).join(name)
}

/// Shows the ratios.
pub(crate) fn print(rows: &[Row]) {
    show(&ratios(rows));
}

/// Shows the nanoseconds.
pub(crate) fn print_nanoseconds(curves: &Curves) {
    println!();
    show(&nanoseconds(curves));
}

/// Fails unless both have their place in the document.
pub(crate) fn check() -> Result<(), Failed> {
    let old = fs::read_to_string(document(DOCUMENT))?;
    [RATIOS, NANOSECONDS]
        .iter()
        .try_for_each(|mark| replaced(&old, mark, "").map(drop))
}

/// Puts both into the document.
pub(crate) fn write(rows: &[Row], curves: &Curves) -> Result<(), Failed> {
    let path = document(DOCUMENT);
    let old = fs::read_to_string(&path)?;
    // The targets are for those who work on the crate.
    let mut ratios = ratios(rows);
    for line in &mut ratios {
        line.truncate(COLUMNS);
    }
    let ratios = markdown(&ratios, "|---|---|--:|--:|--:|--:|");
    let nanoseconds = markdown(&nanoseconds(curves), "|---|--:|--:|--:|--:|");
    let new = replaced(&old, RATIOS, &format!("{}\n\n{ratios}", machine()))?;
    let new = replaced(&new, NANOSECONDS, &nanoseconds)?;
    Ok(fs::write(&path, new)?)
}

fn replaced(document: &str, mark: &str, by: &str) -> Result<String, Failed> {
    let (begin, end) = (format!("<!-- {mark} -->\n"), format!("<!-- /{mark} -->"));
    let missing = || format!("{DOCUMENT} has no {} ... {end}", begin.trim_end());
    let (before, rest) = document.split_once(&begin).ok_or_else(missing)?;
    let (_, after) = rest.split_once(&end).ok_or_else(missing)?;
    Ok(format!("{before}{begin}\n{by}\n{end}{after}"))
}

fn show(cells: &Cells) {
    let columns = cells.first().map_or(0, Vec::len);
    let width = |column: usize| {
        let widths = cells.iter().map(|line| line[column].chars().count());
        widths.max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for line in cells {
        let padded = line.iter().zip(&widths);
        let line = padded.fold(String::new(), |line, (cell, width)| {
            format!("{line}{cell:<width$}  ")
        });
        println!("{}", line.trim_end());
    }
}

fn markdown(cells: &Cells, rule: &str) -> String {
    let mut lines: Vec<String> =
        cells.iter().map(|line| format!("| {} |\n", line.join(" | "))).collect();
    lines.insert(1, format!("{rule}\n"));
    lines.concat()
}

fn ratios(rows: &[Row]) -> Cells {
    let head = [
        "what",
        "against",
        "ours",
        "theirs",
        "ratio (range)",
        "fat LTO: ratio (range)",
        "at most",
        "met",
    ];
    let mut cells = vec![head.map(String::from).to_vec()];
    cells.extend(rows.iter().map(line));
    cells
}

fn line(row: &Row) -> Vec<String> {
    let [release, lto] = Profile::ALL.map(|profile| row.summary(profile));
    let quantity = |of: fn(&Summary) -> f64| {
        let value = release.as_ref().map(of);
        value.map_or(String::new(), |value| quantity(value, &row.pair.unit))
    };
    let ratio = |summary: &Option<Summary>| {
        let spread = summary.as_ref().map(|summary| &summary.ratio);
        spread.map_or(String::new(), |spread| ranged(spread, 3))
    };
    let at_most = row.pair.at_most.map(|ratio| format!("{ratio:.3}"));
    let met = row.is_met().map(|met| if met { "yes" } else { "no" });
    vec![
        row.pair.what.clone(),
        row.pair.against.clone(),
        quantity(|summary| summary.ours),
        quantity(|summary| summary.theirs),
        ratio(&release),
        ratio(&lto),
        at_most.unwrap_or_default(),
        met.unwrap_or_default().into(),
    ]
}

/// What everybody takes, in the default profile.
fn nanoseconds(curves: &Curves) -> Cells {
    let mut head = vec![String::from("nanoseconds")];
    head.extend(HANDLERS.map(|handlers| counted(handlers.into())));
    let mut cells = vec![head];
    for line in curves.lines(Curve::Notify) {
        let cell = |at| ranged(&curves.at(Curve::Notify, line, at), 1);
        let mut of_line = vec![line.to_owned()];
        of_line.extend(HANDLERS.map(cell));
        cells.push(of_line);
    }
    cells
}

/// The median, and the range unless it is nothing.
fn ranged(spread: &Spread, decimals: usize) -> String {
    let [median, low, high] = [spread.median, spread.range[0], spread.range[1]]
        .map(|value| format!("{value:.decimals$}"));
    if low == high {
        median
    } else {
        format!("{median} ({low} to {high})")
    }
}

/// With three digits or four, in a unit that allows for it.
fn quantity(value: f64, unit: &str) -> String {
    let larger = match unit {
        "ns" => ["\u{b5}s", "ms"],
        _ => ["kB", "MB"],
    };
    let (value, unit) = match value {
        10_000.0..10_000_000.0 => (value / 1e3, larger[0]),
        10_000_000.0.. => (value / 1e6, larger[1]),
        _ => (value, unit),
    };
    let decimals = usize::from(value < 100.0);
    format!("{value:.decimals$} {unit}")
}

/// What it was measured on.
fn machine() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| {
        let (name, model) = line.split_once(':')?;
        (name.trim() == "model name").then(|| model.trim())
    });
    let model = model.unwrap_or("a processor that does not say its name");
    let cores = thread::available_parallelism().map_or(1, usize::from);
    format!("Measured on {model}, {cores} of its threads.")
}
