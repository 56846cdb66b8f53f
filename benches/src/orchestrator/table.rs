//! Results as tables of Markdown.

use std::{collections::BTreeMap, env, fmt::Write, process::Command, thread};

use anyhow::Result;

/// In the order in which they came.
#[derive(Default)]
pub struct Results(Vec<Row>);

/// One figure of one run.
struct Row {
    title: String,
    /// By contestant, one for each round.
    values: BTreeMap<&'static str, Vec<f64>>,
}

impl Results {
    pub fn add(&mut self, title: &str, contestant: &'static str, value: Option<f64>) {
        let index = self.0.iter().position(|row| row.title == title).unwrap_or_else(|| {
            self.0.push(Row { title: title.into(), values: BTreeMap::new() });
            self.0.len() - 1
        });
        self.0[index].values.entry(contestant).or_default().extend(value);
    }

    /// First all contestants side by side, then each with its spread.
    pub fn markdown(&self, contestants: &[&str], circumstances: &str) -> String {
        let mut text = format!("{circumstances}\n\n| | {} |\n| ---", contestants.join(" | "));
        text += &" | ---:".repeat(contestants.len());
        text += " |\n";
        for row in &self.0 {
            let cell = |contestant: &&str| match (row.median(contestant), row.ratio(contestant)) {
                (Some(median), Some(ratio)) if *contestant != LOOP => format!("{} ({ratio:.2})", number(median)),
                (Some(median), _) => number(median),
                (None, _) => String::new(),
            };
            let cells: Vec<_> = contestants.iter().map(cell).collect();
            let _ = writeln!(text, "| {} | {} |", row.title, cells.join(" | "));
        }
        text += "\n| | contestant | median | ratio | least | most |\n| --- | --- | ---: | ---: | ---: | ---: |\n";
        for row in &self.0 {
            for contestant in contestants {
                let (Some(values), Some(median)) = (row.values.get(contestant), row.median(contestant)) else {
                    continue;
                };
                let ratio = row.ratio(contestant).map_or_else(|| "–".into(), |ratio| format!("{ratio:.2}"));
                let least = values.iter().copied().fold(f64::INFINITY, f64::min);
                let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let [median, least, most] = [median, least, most].map(number);
                let title = &row.title;
                let _ = writeln!(text, "| {title} | {contestant} | {median} | {ratio} | {least} | {most} |");
            }
        }
        text
    }
}

/// What the others are compared to.
const LOOP: &str = "loop";

impl Row {
    fn median(&self, contestant: &str) -> Option<f64> {
        let mut values = self.values.get(contestant)?.clone();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let upper = *values.get(middle)?;
        Some(if values.len() % 2 == 0 { f64::midpoint(values[middle - 1], upper) } else { upper })
    }

    /// To `loop`, if that does this.
    fn ratio(&self, contestant: &str) -> Option<f64> {
        let base = self.median(LOOP).filter(|&base| base > 0.0)?;
        Some(self.median(contestant)? / base)
    }
}

/// When, on what, and by which command.
pub fn circumstances(rounds: usize) -> Result<String> {
    let date = String::from_utf8(Command::new("date").arg("+%F").output()?.stdout)?;
    let cores = thread::available_parallelism()?;
    let arguments: Vec<_> = env::args().skip(1).collect();
    Ok(format!(
        "{}, {cores} cores, `bench {}`: medians of {rounds} rounds, in brackets the ratio to `{LOOP}`.",
        date.trim(),
        arguments.join(" ")
    ))
}

/// Three digits are enough.
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
