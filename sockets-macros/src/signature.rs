//! Signatures of methods. A signature is the hash of a text that describes the types of a method.
//! Types with equal encodings should have equal texts.
//!
//! A macro knows only the names of types, so the peers compare types by their names. In doubt, this
//! module makes the texts of two types equal. If two texts were different by mistake, the library
//! would reject a valid call. If they are equal by mistake, the library only misses an error.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use quote::ToTokens;
use sha2::{Digest, Sha256};
use syn::{Expr, ExprLit, ExprPath, GenericArgument, Lit, PathArguments, Type, TypePath, ext::IdentExt};

use crate::{
    model::{Arg, Kind},
    name::rules::first_eight_bytes,
    types::{Reply, peel},
};

/// Returns the text of a method. An example for a request is `(String, u32) -> Option<u32>`, and
/// for an emit `emit (String)`.
pub(crate) fn text(args: &[Arg], kind: &Kind) -> String {
    let args = list(args.iter().map(|arg| of(&arg.ty)));
    match kind {
        Kind::Emit { .. } => format!("emit ({args})"),
        Kind::Request { reply: Reply::Value(value), .. } => format!("({args}) -> {}", of(value)),
        Kind::Request { reply: Reply::Fallible { ok, err }, .. } => {
            format!("({args}) -> Result<{}, {}>", of(ok), of(err))
        }
        // A rejected reply occurs only in a skeleton.
        Kind::Request { reply: Reply::Refused(_), .. } => format!("({args})"),
    }
}

/// Returns the first eight bytes of the text's SHA-256 hash, as a little-endian number. The
/// function replaces a hash of 0 by 1, because on the wire 0 means that there is no signature.
pub(crate) fn hash(text: &str) -> u64 {
    first_eight_bytes(Sha256::new().chain_update(text)).max(1)
}

/// Returns the text of a type. The text omits the parts of the type that do not affect the
/// encoding.
fn of(ty: &Type) -> String {
    match peel(ty) {
        Type::Reference(reference) => of(&reference.elem),
        Type::Slice(slice) => format!("Vec<{}>", of(&slice.elem)),
        Type::Array(array) => format!("[{}; {}]", of(&array.elem), constant(&array.len)),
        Type::Tuple(tuple) => match tuple.elems.len() {
            1 => format!("({},)", of(&tuple.elems[0])),
            _ => format!("({})", list(tuple.elems.iter().map(of))),
        },
        Type::Path(path) => named(path),
        other => normalized_tokens(other.to_token_stream()),
    }
}

/// Returns the text of a named type, which is the last segment of the type's path. If types of the
/// standard library have the same encoding, they also have the same text.
fn named(TypePath { qself, path, .. }: &TypePath) -> String {
    let Some(last) = path.segments.last() else { return normalized_tokens(path.to_token_stream()) };
    let name = last.ident.unraw().to_string();
    let args: Vec<_> = match &last.arguments {
        PathArguments::None => Vec::new(),
        PathArguments::AngleBracketed(args) => args.args.iter().filter_map(argument).collect(),
        PathArguments::Parenthesized(_) => return normalized_tokens(path.to_token_stream()),
    };
    if let Some(qself) = qself {
        return format!("<{}>::{}", of(&qself.ty), applied(&name, &args));
    }
    match (name.as_str(), &args[..]) {
        ("str", []) => "String".to_owned(),
        ("Path", []) => "PathBuf".to_owned(),
        ("usize", []) => "u64".to_owned(),
        ("isize", []) => "i64".to_owned(),
        ("Box" | "Rc" | "Arc" | "Cow", [inner]) => inner.clone(),
        ("VecDeque" | "LinkedList" | "BinaryHeap" | "BTreeSet", [item]) | ("HashSet", [item, ..]) => {
            format!("Vec<{item}>")
        }
        ("BTreeMap", [key, value]) | ("HashMap", [key, value, ..]) => format!("Map<{key}, {value}>"),
        (name, args) => applied(name, args),
    }
}

fn applied(name: &str, args: &[String]) -> String {
    if args.is_empty() { name.to_owned() } else { format!("{name}<{}>", args.join(", ")) }
}

/// Returns the text of a generic argument. Returns `None` if the argument is a lifetime.
fn argument(argument: &GenericArgument) -> Option<String> {
    match argument {
        GenericArgument::Lifetime(_) => None,
        GenericArgument::Type(ty) => Some(of(ty)),
        GenericArgument::Const(value) => Some(constant(value)),
        other => Some(normalized_tokens(other.to_token_stream())),
    }
}

/// Returns the text of an array's length, or of a const argument.
fn constant(value: &Expr) -> String {
    match value {
        Expr::Group(group) => constant(&group.expr),
        Expr::Paren(paren) => constant(&paren.expr),
        Expr::Lit(ExprLit { lit: Lit::Int(number), .. }) => number.base10_digits().to_owned(),
        Expr::Path(ExprPath { qself: None, path, .. }) => match path.segments.last() {
            Some(last) => last.ident.unraw().to_string(),
            None => normalized_tokens(value.to_token_stream()),
        },
        other => normalized_tokens(other.to_token_stream()),
    }
}

/// Returns the text of the tokens, with single spaces between them. The compiler's own conversion
/// to text is not suitable, because its spacing differs between versions of the compiler.
fn normalized_tokens(tokens: TokenStream) -> String {
    let words = tokens.into_iter().map(|token| match token {
        TokenTree::Group(group) => {
            let inside = normalized_tokens(group.stream());
            match group.delimiter() {
                Delimiter::Parenthesis => format!("({inside})"),
                Delimiter::Brace => format!("{{{inside}}}"),
                Delimiter::Bracket => format!("[{inside}]"),
                Delimiter::None => inside,
            }
        }
        token => token.to_string(),
    });
    words.collect::<Vec<_>>().join(" ")
}

fn list(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use syn::{ItemTrait, parse_quote};

    use super::*;
    use crate::{attr::GroupArgs, errors::Errors, model::Group};

    fn assert_same(types: &[Type]) {
        for ty in types {
            assert_eq!(of(ty), of(&types[0]), "{}", ty.to_token_stream());
        }
    }

    fn assert_all_differ(types: &[Type]) {
        for (i, ty) in types.iter().enumerate() {
            for other in &types[..i] {
                assert_ne!(of(ty), of(other));
            }
        }
    }

    /// Returns the signatures of a trait's methods.
    fn signatures(item: ItemTrait) -> Vec<String> {
        let mut errors = Errors::default();
        let group = Group::new(GroupArgs::default(), item, &mut errors);
        assert!(errors.is_empty());
        group.methods.into_iter().map(|method| method.types).collect()
    }

    #[test]
    fn text_contains_owned_types() {
        let texts = signatures(parse_quote! {
            trait Shop {
                async fn ping(&self);
                async fn get_price(&self, item: &str) -> Option<u32>;
                async fn buy(&self, call: &sockets::Call, item: &str, parts: &[Part]) -> Result<Receipt, shop::Error>;
                #[emit]
                async fn viewed(&self, items: [&'_ str; 0x10], r#type: r#Type);
            }
        });
        assert_eq!(
            texts,
            [
                "() -> ()",
                "(String) -> Option<u32>",
                "(String, Vec<Part>) -> Result<Receipt, Error>",
                "emit ([String; 16], Type)"
            ]
        );
    }

    #[test]
    fn hash_is_truncated_sha256_of_text() {
        // printf '(String) -> Option<u32>' | sha256sum
        assert_eq!(hash("(String) -> Option<u32>").to_le_bytes(), [0xea, 0x74, 0x3d, 0x74, 0xa1, 0xd7, 0xf9, 0x8f]);
    }

    #[test]
    fn borrowed_and_owned_types_are_equal() {
        assert_same(&[
            parse_quote!(String),
            parse_quote!(&str),
            parse_quote!(&'static str),
            parse_quote!(&'_ String),
            parse_quote!(Cow<'_, str>),
            parse_quote!(std::borrow::Cow<'static, str>),
            parse_quote!(Box<str>),
            parse_quote!(Arc<str>),
            parse_quote!((String)),
        ]);
        assert_same(&[
            parse_quote!(Vec<Part>),
            parse_quote!(&[Part]),
            parse_quote!(&Vec<Part>),
            parse_quote!(Cow<'_, [Part]>),
            parse_quote!(Box<[Rc<Part>]>),
            parse_quote!(&[&Part]),
        ]);
        assert_same(&[
            parse_quote!(Note),
            parse_quote!(Note<'_>),
            parse_quote!(&Note<'_>),
            parse_quote!(Box<Arc<Note>>),
        ]);
    }

    #[test]
    fn paths_to_a_type_are_equal() {
        assert_same(&[
            parse_quote!(Option<Receipt>),
            parse_quote!(std::option::Option<Receipt>),
            parse_quote!(::core::option::Option<crate::shop::Receipt>),
            parse_quote!(Option<super::r#Receipt>),
        ]);
        assert_same(&[parse_quote!([u8; 4]), parse_quote!([core::primitive::u8; 4usize]), parse_quote!([u8; (0b100)])]);
        assert_same(&[parse_quote!([u8; SIZE]), parse_quote!([u8; crate::SIZE])]);
        assert_same(&[parse_quote!(Grid<3, { N + 1 }>), parse_quote!(a::Grid< 3u8 , {N+1} >)]);
        assert_same(&[parse_quote!(<Shop as Sells>::Item), parse_quote!(<a::Shop as b::Sells>::Item)]);
    }

    #[test]
    fn types_with_equal_encoding_are_equal() {
        assert_same(&[
            parse_quote!(Vec<u64>),
            parse_quote!(VecDeque<u64>),
            parse_quote!(std::collections::HashSet<usize>),
            parse_quote!(HashSet<u64, Hasher>),
            parse_quote!(BTreeSet<u64>),
        ]);
        assert_same(&[
            parse_quote!(HashMap<String, u8>),
            parse_quote!(BTreeMap<&str, u8>),
            parse_quote!(HashMap<String, u8, S>),
        ]);
        assert_same(&[parse_quote!(&Path), parse_quote!(PathBuf)]);
        assert_same(&[parse_quote!(isize), parse_quote!(i64)]);
    }

    #[test]
    fn types_with_other_encoding_differ() {
        assert_all_differ(&[
            parse_quote!(u32),
            parse_quote!(u64),
            parse_quote!(i32),
            parse_quote!(String),
            parse_quote!(()),
            parse_quote!((u32,)),
            parse_quote!((u32, u64)),
            parse_quote!((u64, u32)),
            parse_quote!(((u32, u64),)),
            parse_quote!([u32; 2]),
            parse_quote!([u32; 3]),
            parse_quote!(Vec<u32>),
            parse_quote!(Vec<u64>),
            parse_quote!(Option<u32>),
            parse_quote!(Option<Option<u32>>),
            parse_quote!(Receipt),
            parse_quote!(Receipts),
            parse_quote!(HashMap<u32, u64>),
            parse_quote!(HashMap<u64, u32>),
            parse_quote!(Result<u32, u64>),
            parse_quote!(<Shop as Sells>::Receipt),
        ]);
    }

    #[test]
    fn emits_and_fallible_requests_differ() {
        let texts = signatures(parse_quote! {
            trait Shop {
                #[emit]
                async fn a(&self, n: u32);
                async fn b(&self, n: u32);
                async fn c(&self, n: u32) -> Result<(), ()>;
                async fn d(&self, n: u32, m: u32);
                async fn e(&self);
            }
        });
        for (i, text) in texts.iter().enumerate() {
            assert!(!texts[..i].contains(text), "{text}");
        }
    }

    #[test]
    fn argument_names_and_attributes_are_ignored() {
        let texts = signatures(parse_quote! {
            trait Shop {
                async fn a(&self, item: String) -> ();
                #[request(timeout = "2s")]
                async fn b(&self, call: &Call, what: &str);
            }
        });
        assert_eq!(texts[0], texts[1]);
    }
}
