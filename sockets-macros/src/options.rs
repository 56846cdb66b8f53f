//! What the attributes inside the trait say: `#[emit]` and `#[request(..)]` on its methods, and what else may be there.

use std::{mem, time::Duration};

use syn::{
    Attribute, Expr, ExprLit, FnArg, Ident, Lit, LitStr, Meta, Token, TraitItem, Visibility,
    ext::IdentExt,
    parse::{ParseStream, Parser},
    punctuated::Punctuated,
};

use crate::{
    attr::Arg,
    errors::Errors,
    overflow::{self, Overflow},
    timeout,
};

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

/// What a parameter may have.
const LINTS: &[&str] = &["allow", "deny", "expect", "forbid", "warn"];

/// What `#[emit]` and `#[request(..)]` say of a method.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) emit: bool,
    pub(crate) overflow: Overflow,
    pub(crate) timeout: Option<Duration>,
    pub(crate) idempotent: bool,
    /// Whether there was something else, which has been reported.
    pub(crate) unknown: bool,
    /// Which of our attributes has been read.
    read: Option<String>,
}

impl Options {
    /// Reads our attributes and takes them away, with those that nobody knows.
    pub(crate) fn take(attrs: &mut Vec<Attribute>, errors: &mut Errors) -> Self {
        let mut options = Self::default();
        attrs.retain(|attr| match attr.path().get_ident().map(|name| name.unraw().to_string()) {
            Some(name) if name == "emit" || name == "request" => {
                options.read(name, attr, errors);
                false
            }
            Some(name) => options.keeps(&name, attr, errors),
            None => options.keeps_path(attr, errors),
        });
        options
    }

    /// Reads an attribute of ours.
    fn read(&mut self, name: String, attr: &Attribute, errors: &mut Errors) {
        match &self.read {
            Some(earlier) if *earlier == name => errors.on(attr, format!("`#[{name}]` is given twice; remove one")),
            Some(_) => errors.on(attr, "a method is an emit or a request; remove `#[emit]` or `#[request]`"),
            None if name == "emit" => self.emit(attr, errors),
            None => self.request(attr, errors),
        }
        self.read.get_or_insert(name);
    }

    /// Whether an attribute of one word, which is not ours, can stay.
    fn keeps(&mut self, name: &str, attr: &Attribute, errors: &mut Errors) -> bool {
        let legal = if name == "cfg_attr" {
            check_conditional(attr, errors)
        } else if BUILT_IN.contains(&name) {
            true
        } else {
            errors.on(
                attr.path(),
                format!(
                    "unknown attribute `{name}`; legal are `#[emit]`, `#[request(timeout = \"2s\")]` and Rust's own (an \
                     attribute macro is written with its path)"
                ),
            );
            false
        };
        self.unknown |= !legal;
        legal
    }

    /// Whether an attribute with a path can stay: attribute macros and those of tools are the user's affair.
    fn keeps_path(&mut self, attr: &Attribute, errors: &mut Errors) -> bool {
        let names: Vec<_> = attr.path().segments.iter().map(|segment| segment.ident.to_string()).collect();
        match &names[..] {
            [first, name] if first == "sockets" && (name == "emit" || name == "request") => {
                errors.on(attr.path(), format!("write `#[{name}]`; it has no path in a group"));
                self.unknown = true;
                false
            }
            _ => true,
        }
    }

    fn emit(&mut self, attr: &Attribute, errors: &mut Errors) {
        self.emit = true;
        let (mut seen, mut volatile) = (false, false);
        for arg in arguments(attr, errors) {
            match &arg {
                Arg::Named(name, value) if name == "overflow" => {
                    once(name, &mut seen, errors);
                    if volatile {
                        errors
                            .on(name, "a volatile emit that finds no room is dropped; remove `overflow` or `volatile`");
                    }
                    let what = format!("a policy is a string; legal are {}", overflow::LEGAL);
                    if let Some(overflow) = parsed(value, Overflow::parse, &what, errors) {
                        self.overflow = overflow;
                    }
                }
                Arg::Plain(word) if is(word, "volatile") => {
                    flag(word, "volatile", &mut volatile, errors);
                    self.overflow = Overflow::VOLATILE;
                    if seen {
                        errors
                            .on(word, "a volatile emit that finds no room is dropped; remove `overflow` or `volatile`");
                    }
                }
                Arg::Plain(word) if is(word, "idempotent") => {
                    errors.on(word, "`idempotent` is for requests, which can be made again; an emit is sent once");
                }
                Arg::Named(name, _) if name == "volatile" => errors.on(name, "write `volatile` alone, without a value"),
                _ => errors.at(
                    arg.span(),
                    format!("{}; legal are `overflow = \"drop_oldest\"` and `volatile`", arg.describe()),
                ),
            }
        }
    }

    fn request(&mut self, attr: &Attribute, errors: &mut Errors) {
        let mut seen = false;
        for arg in arguments(attr, errors) {
            match &arg {
                Arg::Named(name, value) if name == "timeout" => {
                    once(name, &mut seen, errors);
                    let what = "a timeout is a string, such as \"500ms\" or \"2s\"";
                    self.timeout = parsed(value, timeout::parse, what, errors).or(self.timeout);
                }
                Arg::Named(name, _) if name == "overflow" => {
                    errors.on(
                        name,
                        "`overflow` is for emits, which nobody waits for; a request that finds no room fails",
                    );
                }
                Arg::Plain(word) if is(word, "idempotent") => flag(word, "idempotent", &mut self.idempotent, errors),
                Arg::Plain(word) if is(word, "volatile") => {
                    errors.on(word, "`volatile` is for emits, which nobody waits for; a request is answered or fails");
                }
                Arg::Named(name, _) if name == "idempotent" => {
                    errors.on(name, "write `idempotent` alone, without a value");
                }
                _ => {
                    errors.at(arg.span(), format!("{}; legal are `timeout = \"2s\"` and `idempotent`", arg.describe()));
                }
            }
        }
    }
}

/// Reports an argument that was given before.
fn once(name: &Ident, seen: &mut bool, errors: &mut Errors) {
    if mem::replace(seen, true) {
        errors.on(name, format!("`{name}` is given twice; remove one"));
    }
}

/// Whether an argument is this one word.
fn is(value: &Expr, word: &str) -> bool {
    matches!(value, Expr::Path(path) if path.path.is_ident(word))
}

/// Takes an argument in that is one word.
fn flag(value: &Expr, word: &str, seen: &mut bool, errors: &mut Errors) {
    if mem::replace(seen, true) {
        errors.on(value, format!("`{word}` is given twice; remove one"));
    }
}

/// What the text of an argument means; `what` is told if it is none.
fn parsed<T>(value: &Expr, parse: fn(&str) -> Result<T, String>, what: &str, errors: &mut Errors) -> Option<T> {
    let Some(text) = string(value) else {
        errors.on(value, what);
        return None;
    };
    parse(&text.value()).map_err(|message| errors.at(text.span(), message)).ok()
}

fn arguments(attr: &Attribute, errors: &mut Errors) -> Vec<Arg> {
    match &attr.meta {
        Meta::Path(_) => Vec::new(),
        Meta::List(list) => Arg::list(list.tokens.clone(), errors),
        Meta::NameValue(pair) => {
            errors.at(pair.eq_token.span, "no `=` here; write `#[emit]` or `#[request(timeout = \"2s\")]`");
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

/// Whether a `#[cfg_attr(..)]` can stay: a method's kind, and whether it is there, are the same for all that is generated.
fn check_conditional(attr: &Attribute, errors: &mut Errors) -> bool {
    let metas = attr.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated).unwrap_or_default();
    let mut legal = true;
    for meta in metas.iter().skip(1) {
        if meta.path().is_ident("cfg") {
            errors.on(meta, "this `cfg` is hidden from the group; write `#[cfg(..)]` by itself");
        } else if meta.path().is_ident("emit") || meta.path().is_ident("request") {
            errors.on(
                meta,
                "what a method is cannot depend on `cfg_attr`; write two methods, each with its `#[cfg(..)]`",
            );
        } else {
            continue;
        }
        legal = false;
    }
    legal
}

/// Takes away a member's `pub`.
pub(crate) fn take_visibility(member: &mut TraitItem, errors: &mut Errors) {
    let TraitItem::Verbatim(tokens) = member else { return };
    let parser = |input: ParseStream<'_>| {
        let attrs = input.call(Attribute::parse_outer)?;
        let vis: Visibility = input.parse()?;
        let mut item: TraitItem = input.parse()?;
        if let TraitItem::Fn(method) = &mut item {
            method.attrs.splice(0..0, attrs);
        }
        Ok((vis, item))
    };
    if let Ok((vis, item @ TraitItem::Fn(_))) = parser.parse2(tokens.clone()) {
        errors.on(vis, "a method of a group is as visible as the trait; remove this");
        *member = item;
    }
}

/// Takes away a parameter's attributes that cannot be there.
pub(crate) fn take_from_param(param: &mut FnArg, errors: &mut Errors) {
    let attrs = match param {
        FnArg::Receiver(receiver) => &mut receiver.attrs,
        FnArg::Typed(typed) => &mut typed.attrs,
    };
    attrs.retain(|attr| {
        let legal = LINTS.iter().any(|lint| attr.path().is_ident(lint));
        if !legal && (attr.path().is_ident("cfg") || attr.path().is_ident("cfg_attr")) {
            errors.on(attr, "an argument is there on both sides or on none; put `#[cfg]` on the method");
        } else if !legal {
            errors
                .on(attr, "an argument has no attributes but those for lints, such as `#[allow(..)]`; remove this one");
        }
        legal
    });
}
