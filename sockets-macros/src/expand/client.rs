//! The stub, such as `PurchasesClient<T>`. Each method of the stub calls the runtime crate.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::{Ident, spanned::Spanned};

use super::{constant, fresh, type_check};
use crate::{
    check::RESERVED,
    model::{Group, Kind, Method, generated, respan_ident},
    types::{ArgumentPassing, Reply},
    unsupported::UnsupportedType,
};

/// The kind of body that the stub's functions have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body {
    Call,
    /// No implementation, in the stub of a skeleton. The stub nevertheless has all methods, because
    /// rustc would otherwise report missing methods in addition to the macro's errors.
    Skeleton,
}

/// The target of a stub. The target determines the result of a request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Target {
    /// Any target. Its stub has the emits.
    Any,
    Peer,
    Audience,
}

/// Returns the items of the stub that do not depend on the methods.
pub(crate) fn basics(group: &Group) -> TokenStream {
    let Group { krate, client, deprecated, .. } = group;
    let vis = group.vis();
    let debug = format!("{client} {{ .. }}");
    quote! {
        impl<T> #client<T> {
            /// Returns a stub for a client, a socket, a peer, a member or an audience.
            #[must_use]
            #(#deprecated)*
            #vis fn new<C: #krate::IntoTarget<Target = T> + ?::core::marker::Sized>(target: &C) -> Self {
                Self { stub: #krate::__private::Stub::new(target) }
            }

            /// Returns the stub with a timeout for each of its requests.
            #[must_use]
            #vis fn with_timeout(self, timeout: ::core::time::Duration) -> Self {
                Self { stub: self.stub.with_timeout(timeout) }
            }
        }

        #[automatically_derived]
        impl<T> ::core::fmt::Debug for #client<T> {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.write_str(#debug)
            }
        }
    }
}

/// Returns the methods of the stub. A stub has the emits for any target, and the requests for each
/// kind of target.
pub(crate) fn stubs(group: &Group, body: Body) -> TokenStream {
    let Group { krate, client, methods, .. } = group;
    let (target, identity) = (fresh(group, "T"), fresh(group, "I"));
    // A skeleton omits methods that repeat the name of an earlier method, and methods with a
    // reserved name. Otherwise rustc would report these names in addition to the macro.
    let is_possible = |i: &usize| {
        let name = &methods[*i].name;
        let second = methods[..*i].iter().any(|earlier| earlier.name == *name && earlier.cfg.is_empty());
        body == Body::Call || !(second || RESERVED.contains(&name.as_str()))
    };
    let is_emit = |i: &usize| matches!(methods[*i].kind, Kind::Emit { .. });
    let (emits, requests): (Vec<_>, Vec<_>) = (0..methods.len()).filter(is_possible).partition(is_emit);
    let implementation = |head: TokenStream, numbers: &[usize], kind| {
        let stubs = numbers.iter().map(|i| stub(group, *i, kind, &identity, body));
        (!numbers.is_empty()).then(|| quote!(#head { #(#stubs)* }))
    };
    let any = implementation(quote!(impl<#target: #krate::Target> #client<#target>), &emits, Target::Any);
    let peer = implementation(quote!(impl #client<#krate::Peer>), &requests, Target::Peer);
    let audience = quote!(impl<#identity: #krate::Identity> #client<#krate::Audience<#identity>>);
    let audience = implementation(audience, &requests, Target::Audience);
    quote!(#any #peer #audience)
}

/// Returns a method of the stub.
fn stub(group: &Group, index: usize, target: Target, identity: &Ident, body: Body) -> TokenStream {
    let krate = &group.krate;
    let vis = group.vis();
    let method = &group.methods[index];
    let Method { cfg, docs, args, generics, .. } = method;
    let ident = respan_ident(&method.ident);
    // The condition is empty, except in a skeleton.
    let conditions = &generics.where_clause;
    let line = (!method.is_documented()).then(|| {
        let line = describe(method, target);
        quote!(#[doc = #line])
    });
    let names = args.iter().map(|arg| respan_ident(&arg.ident));
    let params = args.iter().map(|arg| {
        let (name, ty) = (respan_ident(&arg.ident), &arg.ty);
        if let ArgumentPassing::Refused(UnsupportedType { intended: None, .. }) = &arg.pass {
            // This parameter occurs only in a skeleton. It accepts any value of the caller.
            quote!(#name: impl ::core::marker::Sized)
        } else {
            quote!(#name: #ty)
        }
    });
    let Output { ty: output, function } = output(krate, &method.kind, target, identity);
    let replies = match &method.kind {
        Kind::Request { reply: Reply::Value(ok), .. } => vec![ok],
        Kind::Request { reply: Reply::Fallible { ok, err }, .. } => vec![ok, err],
        _ => Vec::new(),
    };
    let is_async = target != Target::Audience;
    let asyncness = is_async.then(|| quote!(async));
    let constant = constant(index);
    // If a reply type borrows, rustc reports the error at the reply type.
    let at = generated(replies.last().map_or_else(|| ident.span(), Spanned::span));
    let body = match body {
        Body::Skeleton => quote!(::core::unimplemented!()),
        Body::Call => {
            let function = Ident::new(function, at);
            let await_call = is_async.then(|| quote_spanned!(at=> .await));
            let call = quote_spanned!(at=> (&self.stub).#function(#constant, &__sockets::Outgoing((#(#names,)*)).sockets_value()));
            let call = replies.iter().rev().fold(call, |call, ty| {
                let check = type_check(ty, "sockets_reply");
                quote_spanned!(generated(ty.span())=> #check.returns(#call))
            });
            quote_spanned!(at=> #call #await_call)
        }
    };
    quote! {
        #(#cfg)* #(#docs)* #line
        #vis #asyncness fn #ident #generics (&self #(, #params)*) -> #output #conditions { #body }
    }
}

struct Output {
    ty: TokenStream,
    /// The function of the runtime crate that returns a value of type `ty`.
    function: &'static str,
}

fn output(krate: &syn::Path, kind: &Kind, target: Target, identity: &Ident) -> Output {
    let unit = syn::parse_quote!(());
    let (function, ok, err) = match kind {
        Kind::Emit { .. } => {
            let ty = quote!(::core::result::Result<(), #krate::CallError>);
            return Output { ty, function: "emit" };
        }
        Kind::Request { reply: Reply::Value(ok), .. } => ("request", ok, None),
        Kind::Request { reply: Reply::Fallible { ok, err }, .. } => ("try_request", ok, Some(err)),
        // A rejected reply occurs only in a skeleton.
        Kind::Request { reply: Reply::Refused(refusal), .. } => {
            ("request", refusal.intended.as_ref().unwrap_or(&unit), None)
        }
    };
    let ty = match (target, err) {
        (Target::Any | Target::Peer, None) => quote!(::core::result::Result<#ok, #krate::CallError>),
        (Target::Any | Target::Peer, Some(err)) => quote!(::core::result::Result<#ok, #krate::CallError<#err>>),
        (Target::Audience, None) => quote!(#krate::Replies<#identity, #ok>),
        (Target::Audience, Some(err)) => quote!(#krate::Replies<#identity, #ok, #err>),
    };
    Output { ty, function }
}

/// Returns documentation for a method that the user has not documented.
fn describe(method: &Method, target: Target) -> String {
    let name = &method.name;
    match target {
        Target::Any => format!(" Sends the emit `{name}`, to every member if the target is an audience."),
        Target::Peer => format!(" Calls `{name}` and waits for the reply."),
        Target::Audience => format!(" Calls `{name}` on every member and returns a stream of replies."),
    }
}
