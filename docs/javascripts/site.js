// A long key may be broken after a dot, and nowhere else; see stylesheets/site.css.
for (const key of document.querySelectorAll("td:first-child code")) {
  if (!key.children.length) key.innerHTML = key.innerHTML.replaceAll(".", ".<wbr>")
}
