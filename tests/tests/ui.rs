//! Mistakes of users and their error messages: each has its own at the typed token, all are
//! reported at once, and rustc adds none.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its files fails")]

use std::{fs, path::Path, process::Command};

/// The compiler that wrote the expected output. Other versions phrase, order and mark their errors
/// differently. Change it when you run `TRYBUILD=overwrite cargo test -p sockets-tests --test ui`
/// with another version.
const EXPECTED_OF: &str = "rustc 1.95.0";

/// Compares the compiler's output with the expected output, if it is of the same version.
fn compile_fail(files: &str) {
    let output = Command::new("rustc").arg("--version").output().unwrap();
    let version = String::from_utf8(output.stdout).unwrap();
    if version.starts_with(&format!("{EXPECTED_OF} ")) {
        trybuild::TestCases::new().compile_fail(files);
    } else {
        eprintln!("{files}: not compared, since the expected output is of {EXPECTED_OF}, and this is {version}");
    }
}

#[test]
fn misuse_of_the_group_attribute_has_its_own_message() {
    compile_fail("tests/ui/misuse/*.rs");
}

#[test]
fn unsendable_type_is_reported_where_it_is_written() {
    compile_fail("tests/ui/types/*.rs");
}

#[test]
fn generated_code_allows_no_lint_that_users_may_forbid() {
    trybuild::TestCases::new().pass("tests/ui/forbid/*.rs");
}

#[test]
fn strict_lints_find_nothing_in_generated_code() {
    compile_fail("tests/ui/lints/*.rs");
}

/// The lint for methods that return another type than the trait's. Where `async` is missing in the
/// trait, the method accepts implementations with and without `async`, which causes this lint.
const LINT: &str = "warning: impl trait in impl method signature does not match trait method signature";

/// Errors of rustc have a code, and ours have none.
#[test]
fn expected_output_has_no_errors_of_rustc() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ui/misuse");
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let expected: Vec<_> = files.filter(|path| path.extension().is_some_and(|ending| ending == "stderr")).collect();
    assert!(!expected.is_empty());
    for path in expected {
        let text = fs::read_to_string(&path).unwrap();
        let foreign = |line: &&str| line.starts_with("error[") || line.starts_with("warning") && *line != LINT;
        assert_eq!(text.lines().find(foreign), None, "in {}", path.display());
    }
}
