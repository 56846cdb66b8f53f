//! Runs an example with typed input, and checks the output and the exit status of the example.

#![allow(dead_code, unreachable_pub, reason = "each test uses a part of this module")]

use std::{
    io::{BufRead, BufReader, Read, Write},
    path::PathBuf,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// The deadline of each step. Only a test that fails waits this long.
const DEADLINE: Duration = Duration::from_secs(30);

/// A running example. Dropping the value kills the process.
pub struct Program {
    name: String,
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    errors: Option<JoinHandle<String>>,
}

/// The result of a run.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended {
    /// The exit status. The field is `None` if a signal ended the process.
    pub status: Option<i32>,
    /// The printed lines that the test had not read.
    pub rest: Vec<String>,
    pub errors: String,
}

impl Program {
    pub fn start(example: &str, args: &[&str]) -> Self {
        let path = path_of(example);
        let mut child = Command::new(&path)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{} could not be started: {error}", path.display()));
        let input = child.stdin.take();
        let (output, mut errors) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let (read, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if read.send(line).is_err() {
                    return;
                }
            }
        });
        let errors = thread::spawn(move || {
            let mut text = String::new();
            errors.read_to_string(&mut text).unwrap();
            text
        });
        let name = [&[example], args].concat().join(" ");
        Self { name, child, input, lines, errors: Some(errors) }
    }

    /// Returns the next printed line.
    #[track_caller]
    pub fn line(&mut self) -> String {
        match self.lines.recv_timeout(DEADLINE) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => panic!("`{}` printed no further line in time", self.name),
            Err(RecvTimeoutError::Disconnected) => {
                let ended = self.end();
                panic!("`{}` has ended: {ended:?}", self.name)
            }
        }
    }

    /// Checks the next printed lines.
    #[track_caller]
    pub fn prints(&mut self, expected: &[&str]) {
        for expected in expected {
            assert_eq!(self.line(), *expected, "printed by `{}`", self.name);
        }
    }

    /// Types a line of text.
    pub fn types(&mut self, line: &str) {
        writeln!(self.input.as_mut().expect("the input is open"), "{line}").unwrap();
    }

    /// Ends the input of the program, as Ctrl-D does.
    pub fn ends_input(&mut self) {
        self.input = None;
    }

    /// Sends the signal that Ctrl-C sends.
    #[cfg(unix)]
    pub fn interrupt(&self) {
        let status = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status().unwrap();
        assert!(status.success(), "`{}` could not be interrupted", self.name);
    }

    /// Kills the process, as a crash would.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
    }

    /// Waits until the process exits.
    pub fn end(&mut self) -> Ended {
        let started = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(started.elapsed() < DEADLINE, "`{}` did not end in time", self.name);
            thread::sleep(Duration::from_millis(5));
        };
        let errors = self.errors.take().expect("`end` is called once").join().unwrap();
        Ended { status: status.code(), rest: self.lines.iter().collect(), errors }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // The process may already have exited.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs an example without input, and returns its output.
pub fn run(example: &str) -> String {
    let mut program = Program::start(example, &[]);
    let Ended { status, rest, errors } = program.end();
    assert_eq!((status, errors.as_str()), (Some(0), ""), "`{example}` failed after {rest:?}");
    rest.join("\n") + "\n"
}

/// Returns the path of an example. The function derives the path from the path of this test: if the
/// test is in `target/debug/deps`, the example is in `target/debug/examples`.
fn path_of(example: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.ancestors().nth(2).unwrap();
    let path = profile.join("examples").join(format!("{example}{}", std::env::consts::EXE_SUFFIX));
    assert!(path.exists(), "{} is missing; `cargo test -p sockets-examples` builds it", path.display());
    path
}
