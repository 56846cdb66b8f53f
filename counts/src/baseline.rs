//! The counts that were measured last, and are kept in the repository.

use std::{
    fmt::{self, Write},
    fs,
};

use sockets_counts::Sides;

use crate::{Result, toolchain::Toolchain};

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/baseline.txt");
const HEADER: &str = "\
# Instructions (server, client) and system calls (server, client) per call, emit or delivery, and the toolchain that they
# depend on. Written by `bash .ci/counts --renew`.";

/// How much a figure may exceed the baseline: 0.02 is two per cent. Two runs of one program differ by less than 0.003.
const TOLERANCE: f64 = 0.02;

/// What a scenario costs per call, emit or delivery.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Counts {
    /// In user space.
    pub(crate) instructions: Sides,
    /// Of any kind.
    pub(crate) system_calls: Sides,
}

impl Counts {
    /// Returns the figures that exceed `baseline` by more than the tolerance.
    pub(crate) fn regressions(&self, baseline: &Self) -> impl Iterator<Item = &'static str> {
        let most = Sides { server: TOLERANCE, client: TOLERANCE };
        let figures = [
            ("instructions", self.instructions, baseline.instructions),
            ("system calls", self.system_calls, baseline.system_calls),
        ];
        figures.into_iter().filter(move |(_, new, old)| !new.change_from(*old).within(most)).map(|(what, ..)| what)
    }

    /// Returns a line with the figures and their changes in per cent.
    pub(crate) fn compared_with(&self, baseline: &Self) -> String {
        let figure = |new: Sides, old| {
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
            instructions: Sides { server, client },
            system_calls: Sides { server: server_calls, client: client_calls },
        })
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.instructions, self.system_calls)
    }
}

/// The counts of every scenario, by name, and the toolchain that they depend on.
#[derive(Debug)]
pub(crate) struct Baseline {
    pub(crate) toolchain: Toolchain,
    counts: Vec<(String, Counts)>,
}

impl Baseline {
    pub(crate) fn new(toolchain: Toolchain) -> Self {
        Self { toolchain, counts: Vec::new() }
    }

    /// Reads the file of the repository.
    pub(crate) fn read() -> Result<Self> {
        let text = fs::read_to_string(PATH)?;
        let mut lines = text.lines().filter(|line| !line.starts_with('#'));
        let mut baseline = Self::new(Toolchain::from_lines(lines.by_ref()));
        for line in lines {
            let parsed = line.split_once(':').and_then(|(name, counts)| Some((name, Counts::parse(counts)?)));
            let (name, counts) = parsed.ok_or_else(|| format!("{PATH}: not a line of counts: {line}"))?;
            baseline.insert(name, counts);
        }
        Ok(baseline)
    }

    /// Replaces the file of the repository.
    pub(crate) fn write(&self) -> Result<()> {
        let mut text = format!("{HEADER}\n{}\n", self.toolchain);
        for (name, counts) in &self.counts {
            writeln!(text, "{:<28} {counts}", format!("{name}:"))?;
        }
        Ok(fs::write(PATH, text)?)
    }

    pub(crate) fn counts(&self, name: &str) -> Option<Counts> {
        self.counts.iter().find(|(known, _)| known == name).map(|(_, counts)| *counts)
    }

    pub(crate) fn insert(&mut self, name: &str, counts: Counts) {
        self.counts.push((name.to_owned(), counts));
    }
}
