//! An identity has a key.

#[derive(Clone, sockets::Identity)]
struct NoKey {
    name: String,
}

#[derive(Clone, sockets::Identity)]
struct NoField;

#[derive(Clone, sockets::Identity)]
enum Either {
    Guest(#[identity(key)] u32),
    User(#[identity(key)] u32),
}

fn main() {}
