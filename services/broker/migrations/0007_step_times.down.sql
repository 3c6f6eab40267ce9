DROP TABLE step_times;
