//! The model of a group. The construction of the model never fails. For an invalid element, the
//! model contains the most likely meaning, from which the macro generates the skeleton.
//! [`check`](crate::check) reports the invalid elements.

use std::time::Duration;

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote};
use syn::{
    Attribute, FnArg, GenericParam, Generics, Ident, ItemTrait, Meta, Pat, PatType, Path, ReturnType, Signature,
    TraitItem, TraitItemFn, Type, ext::IdentExt,
};

use crate::{
    attr::GroupArgs,
    errors::Errors,
    name::rules::method_key,
    options::{self, Execution, Options, Overflow},
    signature,
    types::{self, ArgumentPassing, CallParam, Reply},
};

/// The trait and the names of its generated types.
pub(crate) struct Group {
    /// The path of the runtime crate. The path is `::sockets`, or the value of `crate = ..`.
    pub(crate) krate: Path,
    /// The path of the group. The path is empty for the root.
    pub(crate) path: String,
    /// The trait without the macro's attributes.
    pub(crate) item: ItemTrait,
    /// The visibility of the generated types.
    vis: TokenStream,
    /// The attributes of the trait that the macro repeats on the functions that create a server or
    /// a stub. Only `#[deprecated]` is such an attribute.
    pub(crate) deprecated: Vec<Attribute>,
    /// The methods, in the order in which the trait declares them.
    pub(crate) methods: Vec<Method>,
    /// The name of the server type, such as `PurchasesServer`.
    pub(crate) server: Ident,
    /// The name of the stub, such as `PurchasesClient`.
    pub(crate) client: Ident,
}

/// A method of the group.
pub(crate) struct Method {
    pub(crate) ident: Ident,
    /// The name on the wire.
    pub(crate) name: String,
    pub(crate) key: u64,
    /// The attributes of the method that the macro repeats on all code that it generates for the
    /// method. Only `#[cfg]` is such an attribute.
    pub(crate) cfg: Vec<Attribute>,
    /// The additional attributes of the stub's method, such as its documentation.
    pub(crate) docs: Vec<Attribute>,
    /// `true` if the method is declared as an emit.
    pub(crate) emit: bool,
    pub(crate) kind: Kind,
    pub(crate) execution: Execution,
    /// `true` if the handler takes a parameter of type `Call`.
    pub(crate) call: bool,
    /// The arguments that the caller sends to the peer.
    pub(crate) args: Vec<Arg>,
    /// The text of the method's types. The peers compare the hashes of their texts.
    pub(crate) types: String,
    /// The generic parameters that [`check`](crate::check) rejects. They are the parameters of the
    /// method, and those parameters of the trait that the method uses.
    pub(crate) generics: Generics,
}

pub(crate) enum Kind {
    Request { timeout: Option<Duration>, reply: Reply },
    Emit { overflow: Overflow, latest: Option<Vec<Ident>> },
}

/// An argument.
pub(crate) struct Arg {
    /// The name of the argument, or a name such as `arg0` if the macro rejects the pattern.
    pub(crate) ident: Ident,
    pub(crate) ty: Type,
    pub(crate) pass: ArgumentPassing,
}

impl Group {
    pub(crate) fn new(args: GroupArgs, mut item: ItemTrait, errors: &mut Errors) -> Self {
        let GroupArgs { path, krate } = args;
        let krate = krate.unwrap_or_else(|| syn::parse_quote!(::sockets));
        let mut methods = Vec::new();
        for member in &mut item.items {
            options::take_visibility(member, errors);
            if let TraitItem::Fn(member) = member {
                let options = Options::take(&mut member.attrs, errors);
                for param in &mut member.sig.inputs {
                    options::take_from_param(param, errors);
                }
                methods.push(Method::new(&path, &krate, member, &options, &item.generics));
            }
        }
        let name = item.ident.unraw();
        let deprecated = select(&item.attrs, &["deprecated"]);
        item.attrs.retain(|attr| !attr.path().is_ident("deprecated"));
        Self {
            krate,
            deprecated,
            path,
            server: format_ident!("{name}Server", span = generated(item.ident.span())),
            client: format_ident!("{name}Client", span = generated(item.ident.span())),
            vis: respan(item.vis.to_token_stream()),
            item,
            methods,
        }
    }

    pub(crate) fn vis(&self) -> &TokenStream {
        &self.vis
    }

    pub(crate) fn ident(&self) -> &Ident {
        &self.item.ident
    }
}

impl Method {
    fn new(path: &str, krate: &Path, item: &mut TraitItemFn, options: &Options, outer: &Generics) -> Self {
        let args = typed(&item.sig).filter(|param| types::as_call(&param.ty, krate).is_none());
        let args = args.enumerate().map(|(i, param)| Arg {
            ident: plain_name(&param.pat).cloned().unwrap_or_else(|| format_ident!("arg{i}", span = Span::call_site())),
            ty: (*param.ty).clone(),
            pass: types::argument(&param.ty),
        });
        let args: Vec<_> = args.collect();
        let kind = Kind::new(options, &item.sig.output);
        let name = item.sig.ident.unraw().to_string();
        let first = typed(&item.sig).next();
        let attrs = item.attrs.clone();
        // The macro removes the attribute from the trait's method, because generated code calls
        // this method and must not cause the warning. The stub's method keeps the attribute, so
        // that its callers get the warning.
        item.attrs.retain(|attr| !attr.path().is_ident("deprecated"));
        Self {
            key: method_key(path, &name),
            name,
            ident: item.sig.ident.clone(),
            cfg: select(&item.attrs, &["cfg"]),
            docs: select(&attrs, &["doc", "deprecated", "cfg_attr"]),
            emit: options.emit,
            types: signature::text(&args, &kind),
            kind,
            execution: options.execution,
            call: first.and_then(|first| types::as_call(&first.ty, krate)) == Some(CallParam::Shared),
            args,
            generics: needed(outer, &item.sig),
        }
    }

    /// Returns `true` if the user has documented the method.
    pub(crate) fn is_documented(&self) -> bool {
        self.docs.iter().any(|attr| attr.path().is_ident("doc") && matches!(attr.meta, Meta::NameValue(_)))
    }
}

impl Kind {
    fn new(options: &Options, output: &ReturnType) -> Self {
        let is_unit = match output {
            ReturnType::Default => true,
            ReturnType::Type(_, ty) => matches!(types::peel(ty), Type::Tuple(tuple) if tuple.elems.is_empty()),
        };
        // An emit with a return type counts as a request, because the user probably intended a
        // request. A method without a return type counts as an emit if it has an unknown attribute,
        // which may be a misspelled `#[emit]`.
        if (options.emit || options.unknown) && is_unit {
            return Self::Emit { overflow: options.overflow, latest: options.latest.clone() };
        }
        Self::Request { timeout: options.timeout, reply: types::reply(output) }
    }
}

/// Returns the generic parameters that the signature of a method needs.
fn needed(outer: &Generics, sig: &Signature) -> Generics {
    let mut generics = sig.generics.clone();
    let (inputs, output) = (&sig.inputs, &sig.output);
    let used = outer.params.iter().filter(|param| {
        let name = match param {
            GenericParam::Type(param) => &param.ident,
            GenericParam::Const(param) => &param.ident,
            GenericParam::Lifetime(param) => &param.lifetime.ident,
        };
        contains_ident(quote!(#inputs #output), &name.unraw().to_string())
    });
    generics.params.extend(used.cloned());
    generics
}

/// Returns the parameters after `self`.
pub(crate) fn typed(sig: &Signature) -> impl Iterator<Item = &PatType> {
    sig.inputs.iter().filter_map(|input| match input {
        FnArg::Typed(typed) => Some(typed),
        FnArg::Receiver(_) => None,
    })
}

/// Returns the name of an argument. Returns `None` if the pattern of the argument is not a plain
/// name.
pub(crate) fn plain_name(pat: &Pat) -> Option<&Ident> {
    match pat {
        Pat::Ident(pat) if pat.by_ref.is_none() && pat.mutability.is_none() && pat.subpat.is_none() => Some(&pat.ident),
        _ => None,
    }
}

/// Returns the span of a token that the macro generates for a token of the user. rustc shows errors
/// at the user's token. Lints ignore the generated token, so the macro need not allow lints, which
/// the user may have forbidden.
pub(crate) fn generated(span: Span) -> Span {
    Span::call_site().located_at(span)
}

/// Marks tokens as generated.
pub(crate) fn respan(tokens: TokenStream) -> TokenStream {
    let respanned = tokens.into_iter().map(|mut token| {
        let span = generated(token.span());
        if let TokenTree::Group(group) = &token {
            token = TokenTree::Group(proc_macro2::Group::new(group.delimiter(), respan(group.stream())));
        }
        token.set_span(span);
        token
    });
    respanned.collect()
}

/// Marks a name as generated.
pub(crate) fn respan_ident(ident: &Ident) -> Ident {
    let mut ident = ident.clone();
    ident.set_span(generated(ident.span()));
    ident
}

fn select(attrs: &[Attribute], names: &[&str]) -> Vec<Attribute> {
    attrs.iter().filter(|attr| names.iter().any(|name| attr.path().is_ident(name))).cloned().collect()
}

/// Returns `true` if the tokens contain the name.
pub(crate) fn contains_ident(tokens: TokenStream, name: &str) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => ident.unraw() == name,
        TokenTree::Group(group) => contains_ident(group.stream(), name),
        _ => false,
    })
}
