//! Results as a table of Markdown.

use std::fmt::Write;

use super::{Results, plan::Run};
use crate::contestants::Entry;

/// For each run a table: a line for each contestant with the median, its ratio to the first contestant's, and the
/// spread between rounds.
pub fn markdown(runs: &[Run], contestants: &[&Entry], results: &Results, rounds: usize) -> String {
    let mut table = format!("Medians of {rounds} rounds.\n");
    for (run_index, run) in runs.iter().enumerate() {
        let _ = writeln!(table, "\n### {}\n", run.title());
        let _ =
            writeln!(table, "| figure | contestant | median | ratio | spread |\n| --- | --- | ---: | ---: | ---: |");
        let mut names = Vec::new();
        for (_, _, name) in results.keys().filter(|(run, ..)| *run == run_index) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        for name in names {
            let mut base: Option<f64> = None;
            for (index, contestant) in contestants.iter().enumerate() {
                let Some(values) = results.get(&(run_index, index, name.clone())) else { continue };
                let Some((least, median, most)) = spread(values) else { continue };
                if index == 0 {
                    base = Some(median).filter(|&median| median > 0.0);
                }
                let ratio = base.map_or_else(|| "–".into(), |base| format!("{:.2}", median / base));
                let (least, middle, most) = (number(least), number(median), number(most));
                let _ = writeln!(table, "| {name} | {} | {middle} | {ratio} | {least}–{most} |", contestant.name);
            }
        }
    }
    table
}

/// The least, the median and the greatest.
fn spread(values: &[f64]) -> Option<(f64, f64, f64)> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    Some((*sorted.first()?, sorted[sorted.len() / 2], *sorted.last()?))
}

/// Three digits are enough.
pub fn number(value: f64) -> String {
    match value.abs() {
        1e6.. => format!("{:.2} M", value / 1e6),
        1e4.. => format!("{:.0} k", value / 1e3),
        1e3.. => format!("{:.2} k", value / 1e3),
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
