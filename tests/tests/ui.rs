//! Mistakes of users and their error messages. Each mistake has its own message, which points to
//! the token that the user typed. The macro reports all mistakes in a single compilation, and rustc
//! adds no errors.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its files fails")]

use std::{fs, path::Path, process::Command};

/// The compiler that wrote the expected output. Other versions phrase, order and mark their errors
/// differently. If you run `TRYBUILD=overwrite cargo test -p sockets-tests --test ui` with another
/// version, change this constant.
const EXPECTED_OF: &str = "rustc 1.95.0";

/// If the installed compiler has the expected version, compares its output with the expected
/// output.
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
fn misuse_of_the_identity_derive_has_its_own_message() {
    compile_fail("tests/ui/identity/*.rs");
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

/// The lint for a method of an implementation that returns another type than the trait's method. If
/// `async` is missing in the trait, the macro accepts implementations with and without `async`. The
/// lint may then occur.
const LINT: &str = "warning: impl trait in impl method signature does not match trait method signature";

/// The errors of rustc have a code, and the errors of the macro have none.
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
