//! An identity and its key meet the bounds of the trait.

#[derive(sockets::Identity)]
struct NotClone {
    #[identity(key)]
    id: u32,
}

#[derive(PartialEq)]
struct Name(String);

#[derive(Clone, sockets::Identity)]
struct KeyIsNotEq {
    #[identity(key)]
    name: std::sync::Arc<Name>,
}

fn main() {}
