//! The results of a run as Markdown tables.

use std::{collections::BTreeMap, env, fmt::Write, process::Command, thread};

use anyhow::Result;

/// The rows of figures, in the order in which they were measured.
#[derive(Default)]
pub struct Results(Vec<Row>);

/// A figure of a run.
struct Row {
    title: String,
    /// The value of the figure in each round, by subject.
    values: BTreeMap<&'static str, Vec<f64>>,
}

impl Results {
    pub fn add(&mut self, title: &str, subject: &'static str, value: Option<f64>) {
        let index = self.0.iter().position(|row| row.title == title).unwrap_or_else(|| {
            self.0.push(Row { title: title.into(), values: BTreeMap::new() });
            self.0.len() - 1
        });
        self.0[index].values.entry(subject).or_default().extend(value);
    }

    /// Returns two tables. The first table contains medians, with a column for each subject. The
    /// second table contains minimums and maximums.
    pub fn markdown(&self, subjects: &[&str], environment: &str) -> String {
        let mut text = format!("{environment}\n\n| | {} |\n| ---", subjects.join(" | "));
        text += &" | ---:".repeat(subjects.len());
        text += " |\n";
        for row in &self.0 {
            let cell = |subject: &&str| match (row.median(subject), row.ratio(subject)) {
                (Some(median), Some(ratio)) if *subject != REFERENCE => format!("{} ({ratio:.2})", number(median)),
                (Some(median), _) => number(median),
                (None, _) => String::new(),
            };
            let cells: Vec<_> = subjects.iter().map(cell).collect();
            let _ = writeln!(text, "| {} | {} |", row.title, cells.join(" | "));
        }
        text += "\n| | subject | median | ratio | minimum | maximum |\n| --- | --- | ---: | ---: | ---: | ---: |\n";
        for row in &self.0 {
            for subject in subjects {
                let (Some(values), Some(median)) = (row.values.get(subject), row.median(subject)) else {
                    continue;
                };
                let ratio = row.ratio(subject).map_or_else(|| "–".into(), |ratio| format!("{ratio:.2}"));
                let minimum = values.iter().copied().fold(f64::INFINITY, f64::min);
                let maximum = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let [median, minimum, maximum] = [median, minimum, maximum].map(number);
                let title = &row.title;
                let _ = writeln!(text, "| {title} | {subject} | {median} | {ratio} | {minimum} | {maximum} |");
            }
        }
        text
    }
}

/// The subject to which all ratios refer.
const REFERENCE: &str = "ideal";

impl Row {
    fn median(&self, subject: &str) -> Option<f64> {
        let mut values = self.values.get(subject)?.clone();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let upper = *values.get(middle)?;
        Some(if values.len() % 2 == 0 { f64::midpoint(values[middle - 1], upper) } else { upper })
    }

    /// Returns the median of `subject` divided by the median of the reference. Returns `None` if
    /// one of the two has no values, or if the reference's median is not positive.
    fn ratio(&self, subject: &str) -> Option<f64> {
        let base = self.median(REFERENCE).filter(|&base| base > 0.0)?;
        Some(self.median(subject)? / base)
    }
}

/// Returns a description of the date, the machine and the command.
pub fn environment(rounds: usize) -> Result<String> {
    let date = String::from_utf8(Command::new("date").arg("+%F").output()?.stdout)?;
    let cores = thread::available_parallelism()?;
    let arguments: Vec<_> = env::args().skip(1).collect();
    Ok(format!(
        "{}, {cores} cores, `bench {}`: medians of {rounds} rounds, in brackets the ratio to `{REFERENCE}`.",
        date.trim(),
        arguments.join(" ")
    ))
}

/// Formats a number with three significant digits.
pub fn number(value: f64) -> String {
    let (scaled, suffix) = match value.abs() {
        1e6.. => (value / 1e6, " M"),
        1e4.. => (value / 1e3, " k"),
        _ => (value, ""),
    };
    let decimals = match scaled.abs() {
        100.0.. => 0,
        10.0.. => 1,
        _ => 2,
    };
    format!("{scaled:.decimals$}{suffix}")
}
