// What a WebView has in its page before the page's own scripts run, and on which ways it reaches it.

(() => {
  if (window === window.top) return; // the app
  const app = window.parent;

  window.ReactNativeWebView = {
    postMessage(text) {
      if (typeof text !== "string") throw new TypeError("a WebView's messages are texts");
      app.postMessage({ webview: "message", text, url: location.href }, "*");
    },
  };

  window.addEventListener("message", (event) => {
    const { source, data } = event;
    if (source !== app || !data?.webview) return;
    event.stopImmediatePropagation();
    // As a WebView does, which asks no policy of the page; given by who drives the browser.
    if (data.webview === "inject") void window.runNatively(data.code);
    if (data.webview !== "post") return;
    const said = new MessageEvent("message", { data: data.text });
    (data.system === "android" ? document : window).dispatchEvent(said);
  });

  // The app is asked before the page goes anywhere else.
  navigation.addEventListener("navigate", (event) => {
    const { destination, navigationType } = event;
    if (navigationType === "reload" || destination.sameDocument || !event.cancelable) return;
    event.preventDefault();
    app.postMessage({ webview: "navigate", url: destination.url }, "*");
  });
})();
