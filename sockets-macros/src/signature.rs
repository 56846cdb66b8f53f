//! What the two sides of a method compare: its types in a text that is the same wherever the bytes on the wire are, and
//! the text's hash.
//!
//! Types are compared by their names, since a macro knows nothing else of them. Where it is not sure, two types should
//! look the same rather than differ: that costs a check, the other a call that would have worked.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use quote::ToTokens;
use sha2::{Digest, Sha256};
use syn::{Expr, ExprLit, ExprPath, GenericArgument, Lit, PathArguments, Type, TypePath, ext::IdentExt};

use crate::{
    key::first_eight,
    model::{Arg, Kind},
    peel::peel,
    types::Reply,
};

/// `(String, u32) -> Option<u32>` for a request, `emit (String)` for an emit.
pub(crate) fn text(args: &[Arg], kind: &Kind) -> String {
    let args = list(args.iter().map(|arg| of(&arg.ty)));
    match kind {
        Kind::Emit { .. } => format!("emit ({args})"),
        Kind::Request { reply: Reply::Value(value), .. } => format!("({args}) -> {}", of(value)),
        Kind::Request { reply: Reply::Fallible { ok, err }, .. } => {
            format!("({args}) -> Result<{}, {}>", of(ok), of(err))
        }
        // Only in a skeleton.
        Kind::Request { reply: Reply::Refused(_), .. } => format!("({args})"),
    }
}

/// The first eight bytes of the text's SHA-256, as a little-endian number. On the wire 0 means that there is none, so the
/// one text in 2^64 that has it gets 1.
pub(crate) fn hash(text: &str) -> u64 {
    first_eight(Sha256::new().chain_update(text)).max(1)
}

/// A type, without what its encoding does not depend on.
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

/// A type by the last segment of its path; those of the standard library that are encoded alike by one name for all.
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

/// A generic argument, unless it is a lifetime.
fn argument(argument: &GenericArgument) -> Option<String> {
    match argument {
        GenericArgument::Lifetime(_) => None,
        GenericArgument::Type(ty) => Some(of(ty)),
        GenericArgument::Const(value) => Some(constant(value)),
        other => Some(normalized_tokens(other.to_token_stream())),
    }
}

/// A length, or the argument of a const parameter.
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

/// Tokens with one space between each two: how the compiler would write them is not the same in all its versions.
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

    fn same(types: &[Type]) {
        for ty in types {
            assert_eq!(of(ty), of(&types[0]), "{}", ty.to_token_stream());
        }
    }

    fn all_differ(types: &[Type]) {
        for (i, ty) in types.iter().enumerate() {
            for other in &types[..i] {
                assert_ne!(of(ty), of(other));
            }
        }
    }

    /// The signatures of a trait's methods.
    fn signatures(item: ItemTrait) -> Vec<String> {
        let mut errors = Errors::default();
        let group = Group::new(GroupArgs::default(), item, &mut errors);
        assert!(errors.is_empty());
        group.methods.into_iter().map(|method| method.types).collect()
    }

    #[test]
    fn a_text_is_as_the_types_would_be_owned() {
        let found = signatures(parse_quote! {
            trait Shop {
                async fn ping(&self);
                async fn get_price(&self, item: &str) -> Option<u32>;
                async fn buy(&self, call: &sockets::Call, item: &str, parts: &[Part]) -> Result<Receipt, shop::Error>;
                #[emit]
                async fn viewed(&self, items: [&'_ str; 0x10], r#type: r#Type);
            }
        });
        assert_eq!(
            found,
            [
                "() -> ()",
                "(String) -> Option<u32>",
                "(String, Vec<Part>) -> Result<Receipt, Error>",
                "emit ([String; 16], Type)"
            ]
        );
    }

    #[test]
    fn a_hash_is_truncated_sha256_over_the_text() {
        // printf '(String) -> Option<u32>' | sha256sum
        assert_eq!(hash("(String) -> Option<u32>").to_le_bytes(), [0xea, 0x74, 0x3d, 0x74, 0xa1, 0xd7, 0xf9, 0x8f]);
    }

    #[test]
    fn borrowing_does_not_matter() {
        same(&[
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
        same(&[
            parse_quote!(Vec<Part>),
            parse_quote!(&[Part]),
            parse_quote!(&Vec<Part>),
            parse_quote!(Cow<'_, [Part]>),
            parse_quote!(Box<[Rc<Part>]>),
            parse_quote!(&[&Part]),
        ]);
        same(&[parse_quote!(Note), parse_quote!(Note<'_>), parse_quote!(&Note<'_>), parse_quote!(Box<Arc<Note>>)]);
    }

    #[test]
    fn where_a_path_begins_does_not_matter() {
        same(&[
            parse_quote!(Option<Receipt>),
            parse_quote!(std::option::Option<Receipt>),
            parse_quote!(::core::option::Option<crate::shop::Receipt>),
            parse_quote!(Option<super::r#Receipt>),
        ]);
        same(&[parse_quote!([u8; 4]), parse_quote!([core::primitive::u8; 4usize]), parse_quote!([u8; (0b100)])]);
        same(&[parse_quote!([u8; SIZE]), parse_quote!([u8; crate::SIZE])]);
        same(&[parse_quote!(Grid<3, { N + 1 }>), parse_quote!(a::Grid< 3u8 , {N+1} >)]);
        same(&[parse_quote!(<Shop as Sells>::Item), parse_quote!(<a::Shop as b::Sells>::Item)]);
    }

    #[test]
    fn what_is_encoded_alike_does_not_matter() {
        same(&[
            parse_quote!(Vec<u64>),
            parse_quote!(VecDeque<u64>),
            parse_quote!(std::collections::HashSet<usize>),
            parse_quote!(HashSet<u64, Hasher>),
            parse_quote!(BTreeSet<u64>),
        ]);
        same(&[
            parse_quote!(HashMap<String, u8>),
            parse_quote!(BTreeMap<&str, u8>),
            parse_quote!(HashMap<String, u8, S>),
        ]);
        same(&[parse_quote!(&Path), parse_quote!(PathBuf)]);
        same(&[parse_quote!(isize), parse_quote!(i64)]);
    }

    #[test]
    fn everything_else_matters() {
        all_differ(&[
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
    fn an_emit_and_requests_with_and_without_an_error_differ() {
        let found = signatures(parse_quote! {
            trait Shop {
                #[emit]
                async fn a(&self, n: u32);
                async fn b(&self, n: u32);
                async fn c(&self, n: u32) -> Result<(), ()>;
                async fn d(&self, n: u32, m: u32);
                async fn e(&self);
            }
        });
        for (i, one) in found.iter().enumerate() {
            assert!(!found[..i].contains(one), "{one}");
        }
    }

    #[test]
    fn names_of_arguments_and_attributes_do_not_matter() {
        let found = signatures(parse_quote! {
            trait Shop {
                async fn a(&self, item: String) -> ();
                #[request(timeout = "2s")]
                async fn b(&self, call: &Call, what: &str);
            }
        });
        assert_eq!(found[0], found[1]);
    }
}
