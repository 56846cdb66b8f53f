//! Copies this tree, and applies mutations to the protocol core in the copy. For each mutation,
//! runs the simulation, which must find the mutation.
//!
//! `cargo run -p sockets-tests --bin mutations` prints the seed that finds each mutation.
//! `mutations WORD` selects the mutations with this word in their names. The file
//! `tests/mutations/list.txt` lists the mutations.

#![allow(clippy::unwrap_used, reason = "a tool for contributors may panic with a message")]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

/// The number of simulated worlds. The simulation must find each mutation within this number.
const WORLDS: u32 = 10_000;
/// Timeout of a simulation. A mutation may cause an endless loop; it counts as detected after this
/// timeout.
const TIMEOUT: Duration = Duration::from_secs(600);

struct Mutation {
    name: String,
    file: String,
    old: String,
    new: String,
}

impl Mutation {
    fn path(&self, tree: &Path) -> PathBuf {
        tree.join("sockets-proto/src").join(&self.file)
    }

    fn check(&self, tree: &Path) {
        let code = fs::read_to_string(self.path(tree)).unwrap();
        assert_eq!(code.matches(&self.old).count(), 1, "{}: its lines do not occur exactly once", self.name);
    }
}

enum Found {
    /// The seed of the world that found the mutation.
    Seed(u32),
    /// The simulation did not end before its timeout.
    Hung,
    Missed,
    /// The mutation does not compile.
    BuildFailed(String),
}

fn main() -> ExitCode {
    let root = root();
    let word = env::args().nth(1).unwrap_or_default();
    let mutations: Vec<_> = listed(root).into_iter().filter(|mutation| mutation.name.contains(&word)).collect();
    let work = root.join("target/mutations");
    let tree = work.join("tree");
    copy(root, &tree);
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| work.join("target"), PathBuf::from);

    for mutation in &mutations {
        mutation.check(&tree);
    }
    if !matches!(simulate(&tree, &target), Found::Missed) {
        eprintln!("the simulation fails without a mutation");
        return ExitCode::FAILURE;
    }
    println!("| mutation | found by seed |\n| --- | --- |");
    let mut missed = 0;
    for mutation in mutations {
        let path = mutation.path(&tree);
        let original = fs::read_to_string(&path).unwrap();
        fs::write(&path, original.replace(&mutation.old, &mutation.new)).unwrap();
        let found = match simulate(&tree, &target) {
            Found::Seed(seed) => seed.to_string(),
            Found::Hung => "timeout".to_owned(),
            Found::Missed => {
                missed += 1;
                "**not found**".to_owned()
            }
            Found::BuildFailed(errors) => {
                eprintln!("{errors}");
                missed += 1;
                "**does not compile**".to_owned()
            }
        };
        println!("| {} | {found} |", mutation.name);
        fs::write(&path, original).unwrap();
    }
    println!("\n{missed} mutations were not found within {WORLDS} worlds");
    if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn listed(root: &Path) -> Vec<Mutation> {
    parse(&fs::read_to_string(root.join("tests/mutations/list.txt")).unwrap())
}

fn parse(list: &str) -> Vec<Mutation> {
    let mut mutations: Vec<Mutation> = Vec::new();
    for line in list.lines() {
        if let Some(name) = line.strip_prefix("# ") {
            let [file, old, new] = [(); 3].map(|()| String::new());
            mutations.push(Mutation { name: name.to_owned(), file, old, new });
        }
        let Some(Mutation { file, old, new, .. }) = mutations.last_mut() else { continue };
        let (kind, text) = line.split_at_checked(1).unwrap_or_default();
        match kind {
            "-" => old.extend([text, "\n"]),
            "+" => new.extend([text, "\n"]),
            " " => [old, new].into_iter().for_each(|lines| lines.extend([text, "\n"])),
            "" | "#" => {}
            _ => line.clone_into(file),
        }
    }
    mutations
}

/// Copies all files of the tree, except for files that git ignores.
fn copy(root: &Path, tree: &Path) {
    let listed =
        Command::new("git").args(["ls-files", "-co", "--exclude-standard"]).current_dir(root).output().unwrap();
    for file in String::from_utf8(listed.stdout).unwrap().lines().filter(|file| root.join(file).is_file()) {
        let copied = tree.join(file);
        fs::create_dir_all(copied.parent().unwrap()).unwrap();
        let contents = fs::read(root.join(file)).unwrap();
        // If this function rewrote an unchanged file, cargo would compile it again.
        if fs::read(&copied).ok().is_none_or(|before| before != contents) {
            fs::write(&copied, contents).unwrap();
        }
    }
}

fn simulate(tree: &Path, target: &Path) -> Found {
    let mut cargo = Command::new("cargo");
    cargo.args(["test", "--package", "sockets-simulation", "--lib", "--no-run", "--color", "never"]);
    let built = cargo.current_dir(tree).env("CARGO_TARGET_DIR", target).output().unwrap();
    let errors = String::from_utf8_lossy(&built.stderr).into_owned();
    let program = errors.lines().find_map(|line| line.trim().strip_prefix("Executable ")?.split_once('('));
    let Some((_, program)) = program.filter(|_| built.status.success()) else { return Found::BuildFailed(errors) };

    let log = tree.join("simulation.log");
    let mut simulation = Command::new(tree.join(program.trim_end_matches(')')));
    simulation.args(["guarantees_hold_in_worlds_of_all_seeds", "--nocapture"]).current_dir(tree);
    simulation.env("SIM_WORLDS", WORLDS.to_string()).env("RUST_BACKTRACE", "0");
    simulation.stdout(Stdio::null()).stderr(fs::File::create(&log).unwrap());
    let (mut run, began) = (simulation.spawn().unwrap(), Instant::now());
    let status = loop {
        match run.try_wait().unwrap() {
            Some(status) => break status,
            None if began.elapsed() > TIMEOUT => {
                run.kill().unwrap();
                run.wait().unwrap();
                return Found::Hung;
            }
            None => std::thread::sleep(Duration::from_millis(50)),
        }
    };
    if status.success() {
        return Found::Missed;
    }
    let log = fs::read_to_string(log).unwrap();
    let seed = log.split("SIM_SEED=").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok());
    seed.map_or(Found::BuildFailed(log), Found::Seed)
}

#[test]
fn mutation_lines_exist_in_the_sources() {
    for mutation in listed(root()) {
        mutation.check(root());
    }
}
