// The page works without this. It takes over the theme of Airflow's own UI, and opens Airflow's pages in the whole
// window: the frame may not navigate the window that it is in, but a link of that window may.
const root = document.documentElement;
const follow = () => {
  const theme = localStorage.getItem("theme");
  if (theme === "dark" || theme === "light") root.dataset.theme = theme;
  else delete root.dataset.theme;
};
follow();
addEventListener("storage", follow);
if (self !== top) root.classList.add("framed");
addEventListener("click", event => {
  const link = event.target.closest('a[target="_top"]');
  if (!link || self === top || event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  const outside = parent.document.createElement("a");
  outside.href = link.href;
  parent.document.body.append(outside);
  outside.click();
  outside.remove();
});
