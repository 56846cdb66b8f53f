//! The toolchain on which counts depend.

use std::{fmt, process::Command};

use crate::Result;

/// The versions of the compiler, the C library and callgrind. Counts can be compared only if these
/// versions are the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Toolchain {
    lines: Vec<String>,
}

impl Toolchain {
    /// The number of lines that the toolchain takes in a baseline.
    pub(crate) const LINES: usize = 3;

    /// Returns the toolchain of this machine.
    pub(crate) fn current() -> Result<Self> {
        let rustc = first_line("rustc", &["--version"])?;
        let lines = vec![
            format!("{rustc} for {}-{}", std::env::consts::ARCH, std::env::consts::OS),
            first_line("getconf", &["GNU_LIBC_VERSION"])?,
            first_line("valgrind", &["--version"])?,
        ];
        Ok(Self { lines })
    }

    /// Parses the lines that [`Display`](fmt::Display) writes.
    pub(crate) fn from_lines<'a>(lines: impl Iterator<Item = &'a str>) -> Self {
        Self { lines: lines.take(Self::LINES).map(str::to_owned).collect() }
    }
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines.join("\n"))
    }
}

fn first_line(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program).args(arguments).output()?;
    let text = String::from_utf8(output.stdout)?;
    Ok(text.lines().next().ok_or_else(|| format!("{program} printed no version"))?.to_owned())
}
