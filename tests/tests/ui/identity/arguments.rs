//! The arguments of `#[identity(..)]`.

#[derive(Clone, sockets::Identity)]
#[identity(key)]
struct OnTheStruct(#[identity(key)] u32);

#[derive(Clone, sockets::Identity)]
#[identity(crate = "sockets")]
struct QuotedCrate(#[identity(key)] u32);

#[derive(Clone, sockets::Identity)]
struct Misspelled {
    #[identity(keys)]
    id: u32,
}

#[derive(Clone, sockets::Identity)]
struct Twice {
    #[identity(key, key)]
    id: u32,
    #[identity]
    name: String,
}

fn main() {}
