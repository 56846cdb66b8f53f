//! What `#[sockets::group(..)]` says, and how the arguments of our attributes are read.

use proc_macro2::{Span, TokenStream};
use syn::{
    Expr, ExprLit, ExprPath, Ident, Lit, Path, Result, Token,
    ext::IdentExt,
    parse::{Parse, ParseStream, Parser},
    punctuated::Punctuated,
    spanned::Spanned,
};

use crate::{errors::Errors, name};

/// One argument of an attribute of ours.
pub(crate) enum Arg {
    /// `name = value`
    Named(Ident, Expr),
    /// `value`
    Plain(Expr),
}

/// The groups without delimiters that `macro_rules` leaves mean nothing here.
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
    /// The arguments that can be read; what cannot is reported.
    pub(crate) fn list(tokens: TokenStream, errors: &mut Errors) -> Vec<Self> {
        match Punctuated::<Self, Token![,]>::parse_terminated.parse2(tokens) {
            Ok(args) => args.into_iter().collect(),
            Err(error) => {
                errors.push(error);
                Vec::new()
            }
        }
    }

    /// Where to report: at the name, or at all of a value without one.
    pub(crate) fn span(&self) -> Span {
        match self {
            Self::Named(name, _) => name.span(),
            Self::Plain(value) => value.span(),
        }
    }

    /// The argument as an error message calls it.
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
