// The page works without this. It takes over the theme of Airflow's own UI, and opens Airflow's pages in the whole
// window and MLflow's in one of their own: the frame may do neither, but a link of the window that it is in may.
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
  const link = event.target.closest('a[target="_top"], a[target="_blank"]');
  if (!link || self === top || event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  const outside = parent.document.createElement("a");
  outside.href = link.href;
  outside.target = link.target;
  outside.rel = "noopener";
  parent.document.body.append(outside);
  outside.click();
  outside.remove();
});
