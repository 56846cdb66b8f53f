//! The attributes within a trait: `#[emit]` and `#[request(..)]` on methods, and attributes of Rust
//! or of other macros.

use std::{mem, time::Duration};

use syn::{
    Attribute, Expr, ExprLit, FnArg, Ident, Lit, LitStr, Meta, Token, TraitItem, Visibility,
    ext::IdentExt,
    parse::{ParseStream, Parser},
    punctuated::Punctuated,
};

use crate::{attr::Arg, errors::Errors};

/// The attributes of Rust that a method may have. The macro reports every other attribute that is a
/// single word, because it is probably a misspelled attribute of this macro. To use another
/// attribute macro, the user can write its path.
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

/// The attributes that a parameter may have.
const LINTS: &[&str] = &["allow", "deny", "expect", "forbid", "warn"];

/// An overflow policy. The string is the name of the policy in the runtime crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Overflow(pub(crate) &'static str);

/// The name of each policy in the attribute, and the name of the same policy in the runtime crate.
const POLICIES: [(&str, &str); 3] =
    [("disconnect", "Disconnect"), ("drop_newest", "DropNewest"), ("drop_oldest", "DropOldest")];

const POLICIES_TEXT: &str = "\"disconnect\" (the default), \"drop_newest\" or \"drop_oldest\"";

impl Default for Overflow {
    fn default() -> Self {
        Self(POLICIES[0].1)
    }
}

impl Overflow {
    /// The policy of `#[emit(volatile)]`.
    pub(crate) const VOLATILE: Self = Self("Volatile");

    fn parse(text: &str) -> Result<Self, String> {
        if text == "latest" {
            return Err("`latest` is not a policy; write `#[emit(latest)]`".to_owned());
        }
        let found = POLICIES.iter().find(|(written, _)| *written == text);
        found.map(|(_, name)| Self(name)).ok_or_else(|| format!("`{text}` is not a policy; expected {POLICIES_TEXT}"))
    }
}

/// A property of the executions of a method.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Execution {
    #[default]
    Stoppable,
    /// A repetition has the same effect as a single execution.
    Idempotent,
    /// The handler runs to completion, whatever happens to the call.
    Detached,
}

/// The options of a method, from `#[emit]` and `#[request(..)]`.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) emit: bool,
    pub(crate) overflow: Overflow,
    /// The names of the arguments in the key of `#[emit(latest, key = "..")]`. It is `None` without
    /// `latest`.
    pub(crate) latest: Option<Vec<Ident>>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) execution: Execution,
    /// `true` if the method had an unknown attribute. The macro has already reported that
    /// attribute.
    pub(crate) unknown: bool,
    /// The attribute of the macro that has already been read.
    read: Option<String>,
}

impl Options {
    /// Reads `#[emit]` and `#[request]`, and removes them from `attrs`. Also reports and removes
    /// the attributes that a method must not have. All other attributes remain.
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

    /// Reads an attribute of the macro.
    fn read(&mut self, name: String, attr: &Attribute, errors: &mut Errors) {
        match &self.read {
            Some(earlier) if *earlier == name => errors.on(attr, format!("`#[{name}]` is set twice; remove one")),
            Some(_) => errors.on(attr, "a method is an emit or a request; remove `#[emit]` or `#[request]`"),
            None if name == "emit" => self.emit(attr, errors),
            None => self.request(attr, errors),
        }
        self.read.get_or_insert(name);
    }

    /// Decides about an attribute that is a single word and not an attribute of this macro. Returns
    /// `true` if the method keeps the attribute.
    fn keeps(&mut self, name: &str, attr: &Attribute, errors: &mut Errors) -> bool {
        let is_allowed = if name == "cfg_attr" {
            check_conditional(attr, errors)
        } else if BUILT_IN.contains(&name) {
            true
        } else {
            errors.on(
                attr.path(),
                format!(
                    "unknown attribute `{name}`; expected `#[emit]`, `#[request(timeout = \"2s\")]` or an \
                     attribute of Rust (an attribute macro must be written with its path)"
                ),
            );
            false
        };
        self.unknown |= !is_allowed;
        is_allowed
    }

    /// Returns `true` if the method keeps an attribute that is a path of several segments. Such
    /// attributes belong to other attribute macros or to tools.
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
        let (mut overflow, mut volatile, mut latest, mut detached, mut key) = (false, false, false, false, None);
        for arg in arguments(attr, errors) {
            match &arg {
                Arg::Named(name, value) if name == "overflow" => {
                    once(name, &mut overflow, errors);
                    if volatile {
                        errors.on(name, VOLATILE_IS_DROPPED);
                    }
                    if latest {
                        errors.on(name, LATEST_IS_REPLACED);
                    }
                    let expected = format!("a policy is a string; expected {POLICIES_TEXT}");
                    if let Some(overflow) = parsed(value, Overflow::parse, &expected, errors) {
                        self.overflow = overflow;
                    }
                }
                Arg::Named(name, value) if name == "key" => {
                    once(name, &mut key.is_some(), errors);
                    key = Some((name.clone(), key_arguments(value, errors)));
                }
                Arg::Plain(word) if is(word, "volatile") => {
                    flag(word, "volatile", &mut volatile, errors);
                    self.overflow = Overflow::VOLATILE;
                    if overflow {
                        errors.on(word, VOLATILE_IS_DROPPED);
                    }
                }
                Arg::Plain(word) if is(word, "latest") => {
                    flag(word, "latest", &mut latest, errors);
                    if overflow {
                        errors.on(word, LATEST_IS_REPLACED);
                    }
                }
                Arg::Plain(word) if is(word, "detached") => {
                    flag(word, "detached", &mut detached, errors);
                    self.execution = Execution::Detached;
                }
                Arg::Plain(word) if is(word, "idempotent") => {
                    errors
                        .on(word, "`idempotent` is for requests, since an emit is never repeated; remove `idempotent`");
                }
                Arg::Named(name, _) if ["detached", "latest", "volatile"].iter().any(|flag| name == flag) => {
                    errors.on(name, format!("write `{name}` without a value"));
                }
                _ => errors.at(
                    arg.span(),
                    format!(
                        "{}; expected `detached`, `latest`, `overflow = \"drop_oldest\"` or `volatile`",
                        arg.describe()
                    ),
                ),
            }
        }
        match key {
            Some((name, _)) if !latest => {
                errors.on(name, "`key` belongs to `latest`; write `#[emit(latest, key = \"player\")]`");
            }
            Some((_, arguments)) => self.latest = Some(arguments),
            None => self.latest = latest.then(Vec::new),
        }
    }

    fn request(&mut self, attr: &Attribute, errors: &mut Errors) {
        let (mut seen, mut idempotent, mut detached) = (false, false, false);
        for arg in arguments(attr, errors) {
            match &arg {
                Arg::Named(name, value) if name == "timeout" => {
                    once(name, &mut seen, errors);
                    let expected = "a timeout is a string, such as \"500ms\" or \"2s\"";
                    self.timeout = parsed(value, parse_timeout, expected, errors).or(self.timeout);
                }
                Arg::Named(name, _) if name == "overflow" => {
                    errors.on(name, "`overflow` is for emits; a request fails if the queue is full; remove `overflow`");
                }
                Arg::Plain(word) if is(word, "idempotent") => {
                    flag(word, "idempotent", &mut idempotent, errors);
                    self.execution = Execution::Idempotent;
                    if detached {
                        errors.on(word, DETACHED_IS_NOT_REPEATED);
                    }
                }
                Arg::Plain(word) if is(word, "detached") => {
                    flag(word, "detached", &mut detached, errors);
                    self.execution = Execution::Detached;
                    if idempotent {
                        errors.on(word, DETACHED_IS_NOT_REPEATED);
                    }
                }
                Arg::Plain(word) if is(word, "volatile") => {
                    errors.on(word, "`volatile` is for emits; a request completes or fails; remove `volatile`");
                }
                Arg::Named(name, _) if name == "key" => {
                    errors.on(name, "`key` is for emits with `latest`; remove `key`");
                }
                Arg::Plain(word) if is(word, "latest") => {
                    errors.on(word, "`latest` is for emits; a newer request replaces no other; remove `latest`");
                }
                Arg::Named(name, _) if name == "idempotent" || name == "detached" => {
                    errors.on(name, format!("write `{name}` without a value"));
                }
                _ => {
                    errors.at(
                        arg.span(),
                        format!("{}; expected `timeout = \"2s\"`, `idempotent` or `detached`", arg.describe()),
                    );
                }
            }
        }
    }
}

const VOLATILE_IS_DROPPED: &str = "a volatile emit is dropped if the queue is full; remove `overflow` or `volatile`";
const DETACHED_IS_NOT_REPEATED: &str =
    "an earlier call of a `detached` method may still run, so none is repeated; remove `idempotent` or `detached`";
const LATEST_IS_REPLACED: &str = "only the latest emit waits, so it has no policy; remove `overflow` or `latest`";

/// Reads the names of the arguments in a key.
fn key_arguments(value: &Expr, errors: &mut Errors) -> Vec<Ident> {
    const EXPECTED: &str = "a key names arguments, such as \"player\" or \"room, player\"";
    let Some(text) = string(value) else {
        errors.on(value, EXPECTED);
        return Vec::new();
    };
    match text.parse_with(Punctuated::<Ident, Token![,]>::parse_terminated) {
        Ok(names) if !names.is_empty() => names.into_iter().collect(),
        _ => {
            errors.on(text, EXPECTED);
            Vec::new()
        }
    }
}

/// Reports an error if an argument occurs a second time.
fn once(name: &Ident, seen: &mut bool, errors: &mut Errors) {
    if mem::replace(seen, true) {
        errors.on(name, format!("`{name}` is set twice; remove one"));
    }
}

/// Returns `true` if the argument consists of this word.
fn is(value: &Expr, word: &str) -> bool {
    matches!(value, Expr::Path(path) if path.path.is_ident(word))
}

/// Reads an argument that consists of a single word.
fn flag(value: &Expr, word: &str, seen: &mut bool, errors: &mut Errors) {
    if mem::replace(seen, true) {
        errors.on(value, format!("`{word}` is set twice; remove one"));
    }
}

/// Parses the string of an argument. If the argument is not a string, the function reports the
/// error `expected`.
fn parsed<T>(value: &Expr, parse: fn(&str) -> Result<T, String>, expected: &str, errors: &mut Errors) -> Option<T> {
    let Some(text) = string(value) else {
        errors.on(value, expected);
        return None;
    };
    parse(&text.value()).map_err(|message| errors.at(text.span(), message)).ok()
}

fn arguments(attr: &Attribute, errors: &mut Errors) -> Vec<Arg> {
    match &attr.meta {
        Meta::Path(_) => Vec::new(),
        Meta::List(list) => Arg::list(list.tokens.clone(), errors),
        Meta::NameValue(pair) => {
            errors.at(pair.eq_token.span, "unexpected `=`; write `#[emit]` or `#[request(timeout = \"2s\")]`");
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

/// Returns `true` if a `#[cfg_attr(..)]` is allowed on a method. The attribute must not contain
/// `cfg`, `emit` or `request`. Otherwise the macro would not know whether the method exists or is
/// an emit.
fn check_conditional(attr: &Attribute, errors: &mut Errors) -> bool {
    let metas = attr.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated).unwrap_or_default();
    let mut is_allowed = true;
    for meta in metas.iter().skip(1) {
        if meta.path().is_ident("cfg") {
            errors.on(meta, "this `cfg` is hidden from the group; write `#[cfg(..)]` by itself");
        } else if meta.path().is_ident("emit") || meta.path().is_ident("request") {
            errors.on(
                meta,
                "the kind of a method cannot depend on `cfg_attr`; write two methods, each with its `#[cfg(..)]`",
            );
        } else {
            continue;
        }
        is_allowed = false;
    }
    is_allowed
}

/// Removes the `pub` of a member of the trait, and reports an error for it.
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
        errors.on(vis, "a method of a group has the visibility of the trait; remove this");
        *member = item;
    }
}

/// Removes the attributes that a parameter must not have, and reports an error for each of them.
pub(crate) fn take_from_param(param: &mut FnArg, errors: &mut Errors) {
    let attrs = match param {
        FnArg::Receiver(receiver) => &mut receiver.attrs,
        FnArg::Typed(typed) => &mut typed.attrs,
    };
    attrs.retain(|attr| {
        let is_allowed = LINTS.iter().any(|lint| attr.path().is_ident(lint));
        if !is_allowed && (attr.path().is_ident("cfg") || attr.path().is_ident("cfg_attr")) {
            errors.on(attr, "both peers need the same arguments; write `#[cfg]` on the method");
        } else if !is_allowed {
            errors.on(
                attr,
                "an argument can only have attributes for lints, such as `#[allow(..)]`; remove this attribute",
            );
        }
        is_allowed
    });
}

/// Parses a duration, such as `"500ms"`, `"2s"`, `"5m"` and `"1h"`.
fn parse_timeout(text: &str) -> Result<Duration, String> {
    let invalid = || {
        format!(
            "`{text}` is not a duration; write a whole number and `ms`, `s`, `m` or `h`, such as \"500ms\" or \"2s\""
        )
    };
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(invalid)?;
    let (number, unit) = text.split_at(digits);
    let millis: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(invalid()),
    };
    if number.is_empty() {
        return Err(invalid());
    }
    let number = number.parse::<u64>().ok();
    match number.and_then(|number| number.checked_mul(millis)) {
        Some(0) => Err("a timeout of zero fails each call; omit it for the default of 30 seconds".to_owned()),
        Some(millis) => Ok(Duration::from_millis(millis)),
        None => Err(format!("`{text}` is too long; use less than 2^64 milliseconds")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_durations_are_parsed() {
        assert_eq!(parse_timeout("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_timeout("2s"), Ok(Duration::from_secs(2)));
        assert_eq!(parse_timeout("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(parse_timeout("1h"), Ok(Duration::from_secs(3600)));
    }

    #[test]
    fn invalid_durations_are_rejected() {
        for bad in
            ["", "2", "s", "2 s", "1.5s", "-1s", "2sec", "0s", "0ms", "99999999999999999999s", "9999999999999999h"]
        {
            assert!(parse_timeout(bad).is_err(), "{bad:?}");
        }
    }
}
