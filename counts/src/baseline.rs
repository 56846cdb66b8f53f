//! The baseline, which is a file in the repository. The program compares new counts with the counts
//! in this file.

use std::{
    fmt::{self, Write},
    fs,
};

use sockets_counts::PerPeer;

use crate::{Result, toolchain::Toolchain};

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/baseline.txt");
const HEADER: &str = "\
# Instructions (server, client) and system calls (server, client) per call, emit or delivery, and
# the toolchain on which they depend. Written by `bash .ci/counts --renew`.";

/// The tolerance relative to the baseline. The value 0.02 means two per cent. The counts of two
/// runs of the same program differ by less than 0.003.
const TOLERANCE: f64 = 0.02;

/// The cost of a scenario for each call, emit or delivery.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Counts {
    /// The number of instructions in user space.
    pub(crate) instructions: PerPeer,
    /// The number of system calls.
    pub(crate) system_calls: PerPeer,
}

impl Counts {
    /// Returns the figures that exceed `baseline` by more than the tolerance.
    pub(crate) fn regressions(&self, baseline: &Self) -> impl Iterator<Item = &'static str> {
        let tolerance = PerPeer { server: TOLERANCE, client: TOLERANCE };
        let figures = [
            ("instructions", self.instructions, baseline.instructions),
            ("system calls", self.system_calls, baseline.system_calls),
        ];
        figures.into_iter().filter(move |(_, new, old)| !new.change_from(*old).within(tolerance)).map(|(name, ..)| name)
    }

    /// Returns a line with the figures, and with the change of each figure in per cent.
    pub(crate) fn compared_with(&self, baseline: &Self) -> String {
        let figure = |new: PerPeer, old| {
            let change = new.change_from(old);
            format!("{new} ({:+5.1}% {:+5.1}%)", change.server * 100.0, change.client * 100.0)
        };
        let instructions = figure(self.instructions, baseline.instructions);
        format!("{instructions} {}", figure(self.system_calls, baseline.system_calls))
    }

    fn parse(text: &str) -> Option<Self> {
        let figures: Vec<f64> = text.split_whitespace().map(str::parse).collect::<std::result::Result<_, _>>().ok()?;
        let &[server, client, server_calls, client_calls] = &figures[..] else { return None };
        Some(Self {
            instructions: PerPeer { server, client },
            system_calls: PerPeer { server: server_calls, client: client_calls },
        })
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.instructions, self.system_calls)
    }
}

/// The counts of each scenario, by name. The counts depend on the toolchain, so the baseline also
/// contains the toolchain.
#[derive(Debug)]
pub(crate) struct Baseline {
    pub(crate) toolchain: Toolchain,
    counts: Vec<(String, Counts)>,
}

impl Baseline {
    pub(crate) fn new(toolchain: Toolchain) -> Self {
        Self { toolchain, counts: Vec::new() }
    }

    /// Reads the baseline of the repository.
    pub(crate) fn read() -> Result<Self> {
        let text = fs::read_to_string(PATH)?;
        let mut lines = text.lines().filter(|line| !line.starts_with('#'));
        let mut baseline = Self::new(Toolchain::from_lines(lines.by_ref()));
        for line in lines {
            let parsed = line.split_once(':').and_then(|(name, counts)| Some((name, Counts::parse(counts)?)));
            let (name, counts) = parsed.ok_or_else(|| format!("{PATH}: invalid line: {line}"))?;
            baseline.insert(name, counts);
        }
        Ok(baseline)
    }

    /// Replaces the baseline of the repository.
    pub(crate) fn write(&self) -> Result<()> {
        let mut text = format!("{HEADER}\n{}\n", self.toolchain);
        for (name, counts) in &self.counts {
            writeln!(text, "{:<28} {counts}", format!("{name}:"))?;
        }
        Ok(fs::write(PATH, text)?)
    }

    pub(crate) fn counts(&self, name: &str) -> Option<Counts> {
        self.counts.iter().find(|(scenario, _)| scenario == name).map(|(_, counts)| *counts)
    }

    pub(crate) fn insert(&mut self, name: &str, counts: Counts) {
        self.counts.push((name.to_owned(), counts));
    }
}
