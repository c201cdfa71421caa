// The example on a phone that is a browser.

import "./network";

import { AppRegistry } from "react-native";

import App from "../../App";

AppRegistry.registerComponent("example", () => App);
AppRegistry.runApplication("example", { rootTag: document.getElementById("root") });
