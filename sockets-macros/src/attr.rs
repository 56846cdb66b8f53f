//! What the attributes say: `#[sockets::group(..)]` on the trait, `#[emit]` and `#[request(..)]` on its methods.

use std::time::Duration;

use proc_macro2::{Span, TokenStream};
use syn::{
    Attribute, Expr, ExprLit, ExprPath, Ident, Lit, LitStr, Meta, Path, Result, Token,
    ext::IdentExt,
    parse::{Parse, ParseStream, Parser},
    punctuated::Punctuated,
    spanned::Spanned,
};

use crate::{errors::Errors, name, timeout};

/// Attributes of Rust's own that a method may have. Others of one word are taken for mistyped ones of ours; an
/// attribute macro can be written with its path.
const BUILT_IN: &[&str] = &[
    "allow",
    "cfg",
    "cfg_attr",
    "cold",
    "deny",
    "deprecated",
    "doc",
    "expect",
    "forbid",
    "inline",
    "must_use",
    "track_caller",
    "warn",
];

/// One argument of an attribute of ours.
enum Arg {
    /// `name = value`
    Named(Ident, Expr),
    /// `value`
    Plain(Expr),
}

impl Parse for Arg {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        if input.peek(Ident::peek_any) && input.peek2(Token![=]) {
            let name = input.call(Ident::parse_any)?;
            input.parse::<Token![=]>()?;
            return Ok(Self::Named(name, input.parse()?));
        }
        input.parse().map(Self::Plain)
    }
}

impl Arg {
    /// The arguments that can be read; what cannot is reported.
    fn list(tokens: TokenStream, errors: &mut Errors) -> Vec<Self> {
        match Punctuated::<Self, Token![,]>::parse_terminated.parse2(tokens) {
            Ok(args) => args.into_iter().collect(),
            Err(error) => {
                errors.push(error);
                Vec::new()
            }
        }
    }

    /// Where to report: at the name, or at all of a value without one.
    fn span(&self) -> Span {
        match self {
            Self::Named(name, _) => name.span(),
            Self::Plain(value) => value.span(),
        }
    }

    /// The argument as an error message calls it.
    fn describe(&self) -> String {
        match self {
            Self::Named(name, _) => format!("unknown argument `{name}`"),
            Self::Plain(Expr::Path(path)) if let Some(name) = path.path.get_ident() => {
                format!("unknown argument `{name}`")
            }
            Self::Plain(_) => "unknown argument".to_owned(),
        }
    }
}

/// What stands in `#[sockets::group(..)]`.
#[derive(Default)]
pub(crate) struct GroupArgs {
    /// The path; empty for the root.
    pub(crate) path: String,
    /// The runtime crate, if it has another name.
    pub(crate) krate: Option<Path>,
}

impl GroupArgs {
    pub(crate) fn parse(tokens: TokenStream, errors: &mut Errors) -> Self {
        let mut args = Self::default();
        let mut path = None;
        for arg in Arg::list(tokens, errors) {
            match &arg {
                Arg::Plain(Expr::Lit(ExprLit { lit: Lit::Str(literal), .. })) => {
                    if path.replace(literal.value()).is_some() {
                        errors.on(literal, "a second path; a group has one");
                    } else if let Err(message) = name::check_path(&literal.value()) {
                        errors.on(literal, message);
                    }
                }
                Arg::Named(name, value) if name == "crate" => match value {
                    Expr::Path(ExprPath { attrs, qself: None, path }) if attrs.is_empty() => {
                        if args.krate.replace(path.clone()).is_some() {
                            errors.on(name, "`crate` is given twice");
                        }
                    }
                    _ => errors.on(value, "`crate` takes a path without quotes, such as `crate = renamed`"),
                },
                Arg::Named(name, _) if name == "path" || name == "name" => {
                    errors.on(name, "the path stands alone; write `#[sockets::group(\"Path\")]`");
                }
                Arg::Named(..) => {
                    errors.at(arg.span(), format!("{}; legal are a path (a string) and `crate`", arg.describe()));
                }
                Arg::Plain(value) => {
                    errors.on(value, "the path is a string literal; write `#[sockets::group(\"Path\")]`");
                }
            }
        }
        args.path = path.unwrap_or_default();
        args
    }
}

/// What `#[emit]` and `#[request(..)]` say of a method.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) emit: bool,
    pub(crate) timeout: Option<Duration>,
}

impl Options {
    /// Reads our attributes and takes them away, with those that nobody knows.
    pub(crate) fn take(attrs: &mut Vec<Attribute>, errors: &mut Errors) -> Self {
        let mut options = Self::default();
        let mut seen: Option<String> = None;
        attrs.retain(|attr| {
            let Some(name) = attr.path().segments.last().map(|last| last.ident.unraw().to_string()) else { return true };
            let ours = name == "emit" || name == "request";
            if attr.path().get_ident().is_none() {
                // An attribute macro or a tool's attribute, which are the user's affair, unless it is `sockets::emit`.
                let first = &attr.path().segments[0].ident;
                if ours && first == "sockets" {
                    errors.on(attr.path(), format!("write `#[{name}]`; it has no path in a group"));
                }
                return !(ours && first == "sockets");
            }
            if !ours {
                let known = BUILT_IN.contains(&name.as_str());
                if !known {
                    errors.on(
                        attr.path(),
                        format!(
                            "unknown attribute `{name}`; legal are `#[emit]`, `#[request(timeout = \"2s\")]` and Rust's \
                             own (an attribute macro is written with its path)"
                        ),
                    );
                }
                return known;
            }
            match &seen {
                Some(earlier) if *earlier == name => errors.on(attr, format!("`#[{name}]` is given twice; remove one")),
                Some(_) => errors.on(attr, "a method is an emit or a request; remove `#[emit]` or `#[request]`"),
                None if name == "emit" => options.emit(attr, errors),
                None => options.request(attr, errors),
            }
            seen.get_or_insert(name);
            false
        });
        options
    }

    fn emit(&mut self, attr: &Attribute, errors: &mut Errors) {
        self.emit = true;
        for arg in arguments(attr, errors) {
            errors.at(arg.span(), format!("{}; `#[emit]` takes none yet", arg.describe()));
        }
    }

    fn request(&mut self, attr: &Attribute, errors: &mut Errors) {
        let mut seen = false;
        for arg in arguments(attr, errors) {
            match &arg {
                Arg::Named(name, value) if name == "timeout" => {
                    if seen {
                        errors.on(name, "`timeout` is given twice; remove one");
                    }
                    seen = true;
                    match string(value).map(|text| (text.span(), timeout::parse(&text.value()))) {
                        Some((_, Ok(duration))) => self.timeout = Some(duration),
                        Some((span, Err(message))) => errors.at(span, message),
                        None => errors.on(value, "a timeout is a string, such as \"500ms\" or \"2s\""),
                    }
                }
                _ => errors.at(arg.span(), format!("{}; legal is `timeout = \"2s\"`", arg.describe())),
            }
        }
    }
}

fn arguments(attr: &Attribute, errors: &mut Errors) -> Vec<Arg> {
    match &attr.meta {
        Meta::Path(_) => Vec::new(),
        Meta::List(list) => Arg::list(list.tokens.clone(), errors),
        Meta::NameValue(pair) => {
            errors.at(pair.eq_token.span, "arguments stand in parentheses, as in `#[request(timeout = \"2s\")]`");
            Vec::new()
        }
    }
}

fn string(value: &Expr) -> Option<&LitStr> {
    match value {
        Expr::Lit(ExprLit { lit: Lit::Str(literal), .. }) => Some(literal),
        _ => None,
    }
}
