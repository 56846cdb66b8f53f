//! The skeleton of a group that has errors. The skeleton contains all generated names that the rest
//! of the program may use, with the intended types and without code. Because of the skeleton, rustc
//! reports no errors in addition to the macro's errors.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{FnArg, ItemTrait, Pat, PathArguments, TraitItem, Type, ext::IdentExt};

use crate::{
    check,
    expand::{self, client, contract, in_const, server},
    model::{Group, plain_name},
    types::{self, CallParam},
};

/// Returns the skeleton of a group.
pub(crate) fn skeleton(group: &Group) -> TokenStream {
    let Group { krate, path, server, .. } = group;
    let contract = contract::expand(&trait_of(group), contract::Form::Skeleton);
    let types = expand::types(group);
    let server_basics = server::basics(group);
    let client_basics = client::basics(group);
    let stubs = client::stubs(group, client::Body::Skeleton);
    let service = quote! {
        #[automatically_derived]
        impl<H: ::core::marker::Send + ::core::marker::Sync + 'static> #krate::Service for #server<H> {
            const PATH: &'static str = #path;
            const METHODS: &'static [#krate::__private::Method] = &[];

            fn start(&self, _: u64, call: #krate::__private::Responder, _: &mut #krate::__private::HandlerSlot) {
                call.refuse();
            }
        }
    };
    in_const(group, &quote! { #contract #types }, &quote! { #server_basics #service #client_basics #stubs })
}

/// Returns the trait without the items for which rustc would also report an error.
fn trait_of(group: &Group) -> ItemTrait {
    let mut item = group.item.clone();
    item.attrs.retain(|attr| !check::is_group(attr));
    let mut names = Vec::new();
    item.items.retain(|member| match member {
        TraitItem::Fn(method) if method.attrs.iter().all(|attr| !attr.path().is_ident("cfg")) => {
            let name = method.sig.ident.unraw();
            let first = !names.contains(&name);
            names.push(name);
            first
        }
        _ => true,
    });
    for member in &mut item.items {
        let TraitItem::Fn(method) = member else { continue };
        for input in &mut method.sig.inputs {
            let FnArg::Typed(typed) = input else { continue };
            if types::as_call(&typed.ty, &group.krate) == Some(CallParam::Generic) {
                remove_arguments(&mut typed.ty);
            }
            if plain_name(&typed.pat).is_none() && method.default.is_none() {
                *typed.pat =
                    Pat::Wild(syn::PatWild { attrs: Vec::new(), underscore_token: <syn::Token![_]>::default() });
            }
        }
    }
    item
}

/// Removes the type arguments from `Call<..>`, possibly inside references.
fn remove_arguments(mut ty: &mut Type) {
    loop {
        ty = match ty {
            Type::Paren(paren) => &mut paren.elem,
            Type::Group(group) => &mut group.elem,
            Type::Reference(reference) => &mut reference.elem,
            Type::Path(path) => return path.path.segments.iter_mut().for_each(|it| it.arguments = PathArguments::None),
            _ => return,
        }
    }
}
