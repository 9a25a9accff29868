//! The table: on the terminal, and in docs/PERFORMANCE.md between two comments.

use std::error::Error;
use std::fmt::Write;
use std::path::PathBuf;
use std::{fs, thread};

use crate::cases::Row;

const DOCUMENT: &str = "PERFORMANCE.md";
const BEGIN: &str = "<!-- table -->\n";
const END: &str = "<!-- /table -->";

/// Something in the directory of the documents.
pub(crate) fn document(name: &str) -> PathBuf {
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs");
    PathBuf::from(docs).join(name)
}

pub(crate) fn print(rows: &[Row]) {
    let lines: Vec<[String; 7]> = lines(rows);
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max();
    let widths = [0, 1, 2, 3, 4, 5, 6].map(|column| width(column).unwrap_or(0));
    for line in &lines {
        let cells = line.iter().zip(widths);
        let line = cells.fold(String::new(), |line, (cell, width)| {
            format!("{line}{cell:<width$}  ")
        });
        println!("{}", line.trim_end());
    }
}

/// Puts the table into the document.
pub(crate) fn write(rows: &[Row]) -> Result<(), Box<dyn Error>> {
    let path = document(DOCUMENT);
    let old = fs::read_to_string(&path)?;
    let marked = || format!("{DOCUMENT} has no {} ... {END}", BEGIN.trim_end());
    let (before, rest) = old.split_once(BEGIN).ok_or_else(marked)?;
    let (_, after) = rest.split_once(END).ok_or_else(marked)?;
    let table = markdown(rows);
    fs::write(&path, format!("{before}{BEGIN}{table}{END}{after}"))?;
    Ok(())
}

fn markdown(rows: &[Row]) -> String {
    let mut lines = lines(rows)
        .into_iter()
        .map(|line| format!("| {} |\n", line.join(" | ")));
    let head = lines.next().unwrap_or_default();
    let rule = "|---|---|--:|--:|--:|--:|---|\n";
    let mut table = format!("\n{}\n\n{head}{rule}", machine());
    table.extend(lines);
    table.push('\n');
    table
}

/// The head and a line for each row.
fn lines(rows: &[Row]) -> Vec<[String; 7]> {
    let head = [
        "what",
        "against",
        "ours",
        "theirs",
        "ratio (10 % to 90 %)",
        "at most",
        "met",
    ];
    let mut lines = vec![head.map(String::from)];
    lines.extend(rows.iter().map(line));
    lines
}

fn line(row: &Row) -> [String; 7] {
    let mut ratio = format!("{:.3}", row.ratio);
    if let Some([low, high]) = row.spread {
        // Writing to a string does not fail.
        let _ = write!(ratio, " ({low:.3} to {high:.3})");
    }
    let (target, met) = match row.target {
        Some(target) if row.ratio <= target => (format!("{target:.2}"), "yes"),
        Some(target) => (format!("{target:.2}"), "no"),
        None => (String::new(), ""),
    };
    [
        row.what.clone(),
        row.against.into(),
        quantity(row.ours, row.unit),
        quantity(row.theirs, row.unit),
        ratio,
        target,
        met.into(),
    ]
}

fn quantity(value: f64, unit: &str) -> String {
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
