//! Parsing of the arguments of `#[sockets::group(..)]`, `#[emit(..)]` and `#[request(..)]`.

use proc_macro2::{Span, TokenStream};
use syn::{
    Expr, ExprLit, ExprPath, Ident, Lit, Path, Result, Token,
    ext::IdentExt,
    parse::{Parse, ParseStream, Parser},
    punctuated::Punctuated,
    spanned::Spanned,
};

use crate::{errors::Errors, name};

/// An argument of an attribute of the macro.
pub(crate) enum Arg {
    /// `name = value`
    Named(Ident, Expr),
    /// `value`
    Plain(Expr),
}

/// Removes the groups without delimiters that `macro_rules` inserts.
fn plain(expr: Expr) -> Expr {
    match expr {
        Expr::Group(group) => plain(*group.expr),
        expr => expr,
    }
}

impl Parse for Arg {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        if input.peek(Ident::peek_any) && input.peek2(Token![=]) {
            let name = input.call(Ident::parse_any)?;
            input.parse::<Token![=]>()?;
            return Ok(Self::Named(name, plain(input.parse()?)));
        }
        input.parse().map(plain).map(Self::Plain)
    }
}

impl Arg {
    /// Returns the arguments that the macro can parse, and reports an error for each other
    /// argument.
    pub(crate) fn list(tokens: TokenStream, errors: &mut Errors) -> Vec<Self> {
        match Punctuated::<Self, Token![,]>::parse_terminated.parse2(tokens) {
            Ok(args) => args.into_iter().collect(),
            Err(error) => {
                errors.push(error);
                Vec::new()
            }
        }
    }

    /// Returns the span for errors. The span is that of the name, or that of the whole argument if
    /// the argument has no name.
    pub(crate) fn span(&self) -> Span {
        match self {
            Self::Named(name, _) => name.span(),
            Self::Plain(value) => value.span(),
        }
    }

    /// Returns the description of the argument for error messages.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Named(name, _) => format!("unknown argument `{name}`"),
            Self::Plain(Expr::Path(path)) => match path.path.get_ident() {
                Some(name) => format!("unknown argument `{name}`"),
                None => "unknown argument".to_owned(),
            },
            Self::Plain(_) => "unknown argument".to_owned(),
        }
    }
}

/// The arguments of `#[sockets::group(..)]`.
#[derive(Default)]
pub(crate) struct GroupArgs {
    /// The path of the group. The path is empty for the root.
    pub(crate) path: String,
    /// The path of the runtime crate, if the user has renamed the crate.
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
                        errors.on(literal, "a second path, but a group has one path; remove it");
                    } else if let Err(message) = name::check_path(&literal.value()) {
                        errors.on(literal, message);
                    }
                }
                Arg::Named(name, value) if name == "crate" => match value {
                    Expr::Path(ExprPath { attrs, qself: None, path }) if attrs.is_empty() => {
                        if args.krate.replace(path.clone()).is_some() {
                            errors.on(name, "`crate` is set twice; remove one");
                        }
                    }
                    _ => errors.on(value, "`crate` takes a path without quotes, such as `crate = renamed`"),
                },
                Arg::Named(name, _) if name == "path" || name == "name" => {
                    errors.on(name, "the path has no name; write `#[sockets::group(\"Path\")]`");
                }
                Arg::Named(..) => {
                    errors.at(arg.span(), format!("{}; expected a path (a string) or `crate`", arg.describe()));
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
