// Runs the dashboard notebook when the page opens, so that nobody has to know about "Run All Cells".
// Only `potadlab lab` serves this file (as an extra labextensions path); it is a federated module
// written by hand: JupyterLab asks the container for "./extension" and gets a plug-in.
(() => {
  // The dashboard's notebook, and that of `lab --live` where the page was opened with it: nobody is
  // watched because a file was clicked on.
  const told = JSON.parse(document.getElementById("jupyter-config-data")?.textContent || "{}");
  const NOTEBOOKS = ["lab.ipynb", ...["live.ipynb"].filter((name) => name === told.treePath)];

  // Once only: after a reload of the page the cells have run, and their kernel still lives.
  const untouched = (panel) =>
    Array.from(panel.content.model.cells).every((cell) => !cell.executionCount);

  // The widgets that the cells show ended with their kernel: what stands there is an error.
  const VIEW = "application/vnd.jupyter.widget-view+json";
  async function ended(panel) {
    const outputs = [...panel.content.model.cells].flatMap((cell) => cell.outputs?.toJSON() ?? []);
    const shown = outputs.map((one) => one.data?.[VIEW]?.model_id).filter((id) => id);
    const { kernel } = panel.sessionContext.session ?? {};
    if (!shown.length || !kernel) return false;
    const told = await kernel.requestCommInfo({ target_name: "jupyter.widget" });
    return !shown.some((id) => id in (told.content.comms ?? {}));
  }

  async function runWhenReady(app, panel) {
    await panel.context.ready;
    await panel.sessionContext.ready;
    if (untouched(panel) || (await ended(panel))) {
      app.shell.activateById(panel.id);
      app.shell.collapseLeft(); // the file browser: the dashboard takes the width
      await app.commands.execute("notebook:run-all-cells");
    }
  }

  const isDashboard = (widget) => NOTEBOOKS.includes(widget?.context?.path) && widget.sessionContext;

  const plugin = {
    id: "potadlab:start",
    autoStart: true,
    activate: (app) => {
      const started = new Set();
      const look = () => {
        for (const widget of app.shell.widgets("main")) {
          if (isDashboard(widget) && !started.has(widget)) {
            started.add(widget);
            void runWhenReady(app, widget);
          }
        }
      };
      void app.restored.then(() => {
        app.shell.layoutModified.connect(look);
        look();
      });
    },
  };

  window._JUPYTERLAB = window._JUPYTERLAB || {};
  window._JUPYTERLAB.potadlab = {
    init: () => undefined,
    get: async () => () => ({ __esModule: true, default: plugin }),
  };
})();
